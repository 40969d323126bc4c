"""The Python that a mail gives to ask for the same again: it says what was asked, and nothing secret."""

import ast
from dataclasses import replace
from typing import Any

import pytest

from heliograph.jobs.model import Job
from heliograph.masking import MASK
from heliograph_notifier.describing.snippet import MOST_PARAMETERS, snippet
from tests.parts.mails import JOB, TOKEN, URL

SECRET = "correct-horse-battery"


def call(job: Job) -> ast.Call:
    """The call that the snippet makes."""
    text = snippet(job, URL)
    assert text is not None
    (found,) = [
        node for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("submit")
    ]  # fmt: skip
    return found


def parameters(job: Job) -> Any:
    return ast.literal_eval(call(job).args[1])


@pytest.mark.parametrize(
    "value",
    [
        {}, {"a": 1, "b": 2.5, "c": None, "d": True, "e": "text", "f": [], "g": {}},
        {"a": {"b": {"c": [1, [2, {"d": 3}]]}}},
        {"quotes": "it's \"both\"", "lines": "a\nb\r\t\x00\u2028", "direction": "\u202e", "letters": "Röntgen 🔭"},
        {'"""': "'''", "\\": "\\n", "x\ny": "#"}, {"big": 2**63 - 1, "small": -1e-300}, {"long": ["x" * 50] * 20},
        {"code": '"); __import__("os").system("true") #'},
    ],
)  # fmt: skip
def test_it_asks_for_just_the_same(value: dict[str, Any]) -> None:
    assert parameters(replace(JOB, parameters=value)) == value


def test_it_takes_the_token_from_the_environment_and_the_address_from_the_settings() -> None:
    text = snippet(JOB, URL)
    assert text is not None
    assert 'token = os.environ["HELIOGRAPH_TOKEN"]' in text
    assert f'Client("{URL}", token)' in text


def test_it_asks_a_queue_where_the_job_had_no_backend() -> None:
    found = call(replace(JOB, backend=None, queue="pacbio"))
    assert isinstance(found.func, ast.Attribute)
    assert (found.func.attr, ast.literal_eval(found.args[0])) == ("submit_to", "pacbio")


def test_it_says_what_else_was_asked_for() -> None:
    job = replace(JOB, name="sun\nspots", group="solar", handler="https://example.org/1", timeout_seconds=60.0)
    fields = {word.arg: ast.literal_eval(word.value) for word in call(job).keywords}
    assert fields == {
        "name": "sun\nspots",
        "group": "solar",
        "handler": "https://example.org/1",
        "timeout_seconds": 60.0,
    }
    assert call(JOB).keywords == []


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"token": SECRET, "a": 1}, {"a": 1}),
        ({"a": {"api_key": SECRET, "b": 2}}, {"a": {"b": 2}}),
        ({"a": [TOKEN, 1]}, {"a": [1]}),
        ({"a": [{"password": [SECRET]}]}, {"a": [{}]}),
        ({"url": f"https://ada:{SECRET}@example.org/"}, {}),
        ({TOKEN: 1, "b": 2}, {"b": 2}),
        ({f"token\nx = {SECRET!r}": SECRET}, {}),
    ],
)
def test_what_looks_like_a_secret_is_left_out_with_a_comment(value: dict[str, Any], left: dict[str, Any]) -> None:
    job = replace(JOB, parameters=value)
    assert parameters(job) == left
    text = snippet(job, URL) or ""
    assert TOKEN not in text
    assert f'"{SECRET}"' not in text
    assert "looks like a secret" in text


def test_for_a_secret_parameter_there_are_dots_to_be_replaced() -> None:
    masked = {"password": MASK, "logins": [{"user": "ada", "key": MASK}, MASK], "note": f"not {MASK}"}
    job = replace(JOB, parameters=masked)
    text = snippet(job, URL) or ""
    given = {"password": ..., "logins": [{"user": "ada", "key": ...}, ...], "note": f"not {MASK}"}
    assert parameters(job) == given
    assert text.count("...,  # a secret: put yours in place of the dots\n") == 3


def test_a_name_that_looks_like_a_secret_is_left_out() -> None:
    assert call(replace(JOB, name=TOKEN, handler=f"https://example.org/?token={SECRET}")).keywords == []


@pytest.mark.parametrize(
    "value",
    [
        {"rows": "x" * MOST_PARAMETERS}, {"rows": list(range(2000))}, [1, 2], None, {"a": float("nan")}, {"a": 2**70},
        {"a": [[[[[[[[[[[[[1]]]]]]]]]]]]]},
    ],
)  # fmt: skip
def test_there_is_none_for_what_is_large_or_no_submission(value: Any) -> None:
    assert snippet(replace(JOB, parameters=value), URL) is None
