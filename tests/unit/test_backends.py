"""What the author of a backend writes, and what others read of it."""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from heliograph.backends import (
    Backend,
    BackendError,
    Cancelled,
    FatalError,
    InputFile,
    JobContext,
    Retry,
    TransientError,
    UsageError,
    backend,
)
from heliograph.backends.artifacts import check_name, media_type_of
from heliograph.backends.result import MAX_BYTES, as_json
from heliograph.jobs.states import ErrorKind
from tests.backends_for_tests.good import Sum, add


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    table: InputFile | None = None
    night: date | None = None
    pair: tuple[int, int] = (0, 0)


def strict(parameters: "Strict", job: "Unknown") -> None:  # type: ignore[name-defined] # noqa: F821 - as behind TYPE_CHECKING
    """Take a file."""


made = backend(name="strict", version="0.1")(strict)


def test_the_decorator_makes_a_value_that_says_all() -> None:
    assert isinstance(add, Backend)
    assert (add.name, add.version, add.title, add.description) == ("sum", "1.2.0", "A sum", "Add two numbers.")
    assert (add.parameters, add.timeout, add.roles) == (Sum, timedelta(minutes=5), ("user",))
    assert add.schema()["properties"]["left"]["exclusiveMinimum"] == 0
    assert (made.title, made.timeout, made.retry) == ("strict", timedelta(hours=1), Retry())


@pytest.mark.parametrize("name", ["", "Upper", "a b", "x" * 65, "é", "a\n"])
def test_a_name_that_could_be_no_queue_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name: must be 1 to 64 of a-z"):
        backend(name=name, version="1.0.0")(strict)


@pytest.mark.parametrize("change", [{"version": "new"}, {"version": ""}, {"timeout": timedelta()}])
def test_a_senseless_version_or_limit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        backend(**({"name": "a", "version": "1"} | change))(strict)


def test_a_function_without_a_model_is_refused() -> None:
    def untyped(parameters, job):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - the mistake that is meant
        pass

    with pytest.raises(TypeError, match="parameters: must be annotated with a pydantic model"):
        backend(name="a", version="1")(untyped)
    with pytest.raises(TypeError, match="takes two parameters"):
        backend(name="a", version="1")(lambda: None)  # type: ignore[arg-type,misc] # the mistake that is meant


def test_a_file_parameter_says_so_in_its_schema() -> None:
    file = {"type": "string", "format": "heliograph-file"}
    assert made.schema()["properties"]["table"]["anyOf"] == [file, {"type": "null"}]


def test_parameters_are_read_as_json_and_uploads_become_paths() -> None:
    given = {"table": "A", "night": "2024-02-29", "pair": [1, 2]}
    parsed = made.parse(given, {"A": Path("/inputs/a")})
    assert parsed == Strict.model_construct(table=Path("/inputs/a"), night=date(2024, 2, 29), pair=(1, 2))


@pytest.mark.parametrize("value", ["B", "/etc/passwd", 7, [], ""])
def test_a_file_that_is_no_upload_of_the_job_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="table"):
        made.parse({"table": value}, {"A": Path("/inputs/a")})


def test_an_author_may_give_a_path_in_a_test() -> None:
    class Plain(BaseModel):
        table: InputFile

    assert Plain(table=Path("a.csv")).table == Path("a.csv")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UsageError, ErrorKind.USAGE),
        (TransientError, ErrorKind.TRANSIENT),
        (FatalError, ErrorKind.FATAL),
        (BackendError, ErrorKind.FATAL),
    ],
)
def test_an_error_says_its_kind(error: type[BackendError], kind: ErrorKind) -> None:
    assert error("text").kind is kind
    assert issubclass(error, BackendError)


def test_a_wish_to_stop_is_no_error() -> None:
    assert not issubclass(Cancelled, Exception)


@pytest.mark.parametrize(
    ("attempt", "random", "seconds"),
    [(1, 0, 5), (2, 0, 10), (3, 0, 20), (7, 0, 300), (2_000, 0, 300), (1, 1, 4.5), (2_000, 1, 270), (2, 0.5, 9.5)],
)
def test_waits_grow_to_a_cap_and_chance_shortens_them(attempt: int, random: float, seconds: float) -> None:
    assert Retry().delay(attempt, random) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kinds": frozenset({ErrorKind.USAGE})},
        {"first": timedelta(seconds=-1)},
        {"first": timedelta(hours=1)},
        {"factor": 0.5},
        {"factor": math.nan},
        {"jitter": 1.5},
    ],
)
def test_a_senseless_retry_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)


class Point(BaseModel):
    at: date


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "null"),
        ({"a": (1, 2.5, True), "é": "ü"}, '{"a":[1,2.5,true],"é":"ü"}'),
        ([Point(at=date(2024, 1, 1))], '[{"at":"2024-01-01"}]'),
        (-(2**63), "-9223372036854775808"),
        ("x" * (MAX_BYTES - 2), f'"{"x" * (MAX_BYTES - 2)}"'),
    ],
)
def test_a_result_is_json(result: object, text: str) -> None:
    assert as_json(result) == text


def nested(depth: int) -> object:
    return 0 if depth == 1 else [nested(depth - 1)]


@pytest.mark.parametrize(
    "result", ["x" * (MAX_BYTES - 1), "é" * (MAX_BYTES // 2), math.inf, -(2**63) - 1, b"", nested(101)]
)
def test_a_result_that_is_none_is_refused(result: object) -> None:
    as_json(nested(100))
    with pytest.raises(FatalError, match="result: "):
        as_json(result)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0", "a\nb", "x" * 256, "\ud800"])
def test_a_path_is_no_name_of_an_artifact(name: str) -> None:
    with pytest.raises(ValueError, match="artifact"):
        check_name(name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.png", "image/png"),
        ("Été 1.csv", "text/csv"),
        ("data.fits", "image/fits"),
        ("a.tar.gz", "application/octet-stream"),
        ("README", "application/octet-stream"),
    ],
)
def test_a_media_type_is_guessed_from_the_name(name: str, kind: str) -> None:
    assert media_type_of(check_name(name)) == kind


def test_a_context_is_what_the_protocol_says() -> None:
    from heliograph_worker.child.context import ChildContext

    public = {name for name in vars(JobContext) if not name.startswith("_")}
    assert public <= {name for name in vars(ChildContext) if not name.startswith("_")} | {
        "id",
        "attempt",
        "deadline",
        "scratch",
    }
