"""What a command's parameters take, how mistakes in them are told, and the arguments that come of their values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from heliograph.backends import Backend
from heliograph_worker.backends.arguments import Group, render
from tests.parts.declared import load, only, values_of

ECHO = '[command.echo]\nargv = ["echo", {}]\n'


def echo_of(folder: Path, element: str, parameters: str) -> Backend:
    return only(folder, ECHO.format(element) + f"[command.echo.parameters]\n{parameters}\n")


def argv_of(element: str | list[str], values: Mapping[str, object]) -> list[str]:
    return render([Group.parse(element)], values)


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ('{type = "txt"}', "[command.echo] parameters.x.type: must be one of text, integer,"),
        ('{type = "text", max = 3}', "[command.echo] parameters.x: knows no key max; those are "),
        ('{type = "integer", minimum = 0.5}', "[command.echo] parameters.x.minimum: must be a whole number"),
        ('{type = "integer", minimum = 1, default = 0}', "[command.echo] parameters.x.default: must be at least 1"),
        ('{type = "text", default = "-x"}', "[command.echo] parameters.x.default: must not begin with a dash"),
        ('{type = "text", pattern = "("}', "[command.echo] parameters.x.pattern: is no regular expression"),
        ('{type = "text", choices = ["a"], max_length = 3}', "[command.echo] parameters.x: choices: stand alone"),
        ('{type = "choice"}', "[command.echo] parameters.x.choices: is missing"),
        ('{type = "choice", choices = ["a"], default = "b"}', "[command.echo] parameters.x.default: must be 'a'"),
        ('{type = "file", default = "/etc/passwd"}', "[command.echo] parameters.x: knows no key default; those are "),
        ('{type = "text", optional = true, default = "a"}', "[command.echo] parameters.x.optional: it has a default"),
        ('{type = "boolean", optional = true}', "[command.echo] parameters.x.optional: it has a default"),
    ],
)
def test_a_mistake_in_a_parameter_is_told_with_its_key(tmp_path: Path, parameter: str, told: str) -> None:
    text = ECHO.format('"{x}"') + f"[command.echo.parameters]\nx = {parameter}"
    (reason,) = load(tmp_path, text).broken.values()
    assert reason.startswith(told)


@pytest.mark.parametrize(
    ("element", "parameters", "told"),
    [
        ('"{x}"', 'y = {type = "text"}\nx = {type = "text"}', "parameters.y: stands nowhere in argv"),
        ('"{x?--x}"', 'x = {type = "text"}', "argv: {x?--x} asks for a boolean parameter"),
        ('"{x}"', '"x-y" = {type = "text"}', "parameters.x-y: is no name of a parameter: a letter"),
        ('"{x}"', 'x = {type = "text", secret = true}', "argv: {x} is secret, and everybody on a host can read the "),
        ('"-"', 'x = {type = "text", secret = true}', "parameters.x: stands nowhere in environment"),
        (
            '"-"',
            'x = {type = "text", secret = true, default = "a"}',
            "parameters.x: secret: has neither choices nor a ",
        ),
    ],
)
def test_arguments_and_parameters_have_to_fit_together(
    tmp_path: Path, element: str, parameters: str, told: str
) -> None:
    (reason,) = load(tmp_path, ECHO.format(element) + f"[command.echo.parameters]\n{parameters}").broken.values()
    assert reason.startswith(f"[command.echo] {told}")


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ('A = "y"', "environment.A: y is no parameter"),
        ('A = "x", B = "plain"', "environment.B: plain is no secret text"),
        ('LD_PRELOAD = "x"', "environment.LD_PRELOAD: a caller's text would be code there"),
        ('PYTHONPATH = "x"', "environment.PYTHONPATH: a caller's text would be code there"),
    ],
)
def test_a_variable_is_for_a_secret_and_for_no_code(tmp_path: Path, environment: str, told: str) -> None:
    text = ECHO.format('"{plain}"') + f"environment = {{{environment}}}\n[command.echo.parameters]\n"
    text += 'x = {type = "text", secret = true}\nplain = {type = "text"}'
    (reason,) = load(tmp_path, text).broken.values()
    assert reason.startswith(f"[command.echo] {told}")


def test_a_secret_is_marked_in_the_schema(tmp_path: Path) -> None:
    text = ECHO.format('"-"') + 'environment = {A = "x"}\n[command.echo.parameters]\n'
    backend = only(tmp_path, text + 'x = {type = "text", secret = true, optional = true}')
    assert backend.schema()["properties"]["x"]["anyOf"][0]["writeOnly"] is True
    assert backend.parse({"x": "-a dash"}, {})


def test_the_parameters_are_documented(tmp_path: Path) -> None:
    backend = echo_of(
        tmp_path,
        '"{image}", "{copy}", "{scale}", "{mode}", "{note}", "{json?-j}"',
        """
        image = {type = "file", description = "The image"}
        copy = {type = "integer", minimum = 1, maximum = 9, default = 3}
        scale = {type = "number", minimum = 0, optional = true}
        mode = {type = "choice", choices = ["fast", "good"]}
        note = {type = "text", max_length = 5, pattern = "[a-z]+"}
        json = {type = "boolean"}
        """,
    )
    schema = backend.schema()
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["image", "mode", "note"]
    assert schema["properties"] == {
        "image": {"type": "string", "format": "heliograph-file", "title": "image", "description": "The image"},
        "copy": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3, "title": "copy"},
        "scale": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": None, "title": "scale"},
        "mode": {"type": "string", "enum": ["fast", "good"], "title": "mode"},
        "note": {"type": "string", "maxLength": 5, "pattern": "^(?:[a-z]+)$", "title": "note"},
        "json": {"type": "boolean", "default": False, "title": "json"},
    }


@pytest.mark.parametrize(
    ("element", "values", "argv"),
    [
        ("plain", {}, ["plain"]),
        ("{x}", {"x": "a b"}, ["a b"]),
        ("{x}", {"x": "; rm -rf / #"}, ["; rm -rf / #"]),
        ("{x}", {"x": "$(id) `id` $HOME *"}, ["$(id) `id` $HOME *"]),
        ("{x}", {"x": "two\nlines"}, ["two\nlines"]),
        ("{x}", {"x": "π ✓ \u202e"}, ["π ✓ \u202e"]),
        ("{x}", {"x": "{y}"}, ["{y}"]),
        ("{x}", {"x": ""}, [""]),
        ("--a={x}:{y}", {"x": 1, "y": 2.5}, ["--a=1:2.5"]),
        ("--a={x}", {"x": None}, []),
        ("{x}", {"x": True}, ["true"]),
        ("{x}", {"x": 1e-07}, ["1e-07"]),
        ("{x}", {"x": Path("/scratch/in")}, ["/scratch/in"]),
        ("{x?--verbose}", {"x": True}, ["--verbose"]),
        ("{x?--verbose}", {"x": False}, []),
        ("{{x}}", {}, ["{x}"]),
        (["--low", "{x}"], {"x": 3}, ["--low", "3"]),
        (["--low", "{x}"], {"x": None}, []),
        (["{x?-v}", "often"], {"x": False}, []),
    ],
)
def test_arguments_are_made_of_values_as_they_are(
    element: str | list[str], values: Mapping[str, object], argv: list[str]
) -> None:
    assert argv_of(element, values) == argv


@pytest.mark.parametrize(
    ("parameter", "value", "passes"),
    [
        ('{type = "text"}', "; rm -rf /", True),
        ('{type = "text"}', "a\n-b", True),
        ('{type = "text"}', "", True),
        ('{type = "text"}', "--option", False),
        ('{type = "text"}', "-", False),
        ('{type = "text"}', "a\0b", False),
        ('{type = "text"}', "\ud800", False),
        ('{type = "text"}', "x" * 1001, False),
        ('{type = "text"}', 5, False),
        ('{type = "text", may_start_with_dash = true}', "--option", True),
        ('{type = "text", may_start_with_dash = true}', "a\0b", False),
        ('{type = "text", pattern = "[a-z-]+"}', "ab", True),
        ('{type = "text", pattern = "[a-z-]+"}', "-ab", False),
        ('{type = "text", pattern = "[a-z]+"}', "ab\n", False),
        ('{type = "text", pattern = "a|b"}', "ax", False),
        ('{type = "text", pattern = "(?s).*"}', "a\0b", False),
        ('{type = "text", pattern = "[a-z-]+", may_start_with_dash = true}', "-ab", True),
        ('{type = "text", choices = ["-a", "b"]}', "-a", True),
        ('{type = "text", choices = ["-a", "b"]}', "c", False),
        ('{type = "integer"}', True, False),
        ('{type = "integer"}', "5", False),
        ('{type = "integer"}', 2.5, False),
        ('{type = "integer", maximum = 5}', 6, False),
        ('{type = "number"}', 5, True),
        ('{type = "number", minimum = 0}', -0.1, False),
        ('{type = "number"}', float("inf"), False),
        ('{type = "boolean"}', 1, False),
        ('{type = "file"}', "A", True),
        ('{type = "file"}', "/etc/passwd", False),
        ('{type = "choice", choices = ["a"]}', "b", False),
    ],
)
def test_a_value_that_a_parameter_does_not_take_is_refused(
    tmp_path: Path, parameter: str, value: Any, passes: bool
) -> None:
    backend = echo_of(tmp_path, '"{x}"', f"x = {parameter}")
    if passes:
        values_of(backend, x=value)
    else:
        with pytest.raises(ValidationError):
            values_of(backend, x=value)


def test_a_parameter_may_be_called_as_a_method_of_the_model(tmp_path: Path) -> None:
    names = [name for name in dir(BaseModel) if name.isidentifier() and not name.startswith("_")]
    assert "schema" in names
    declared = "\n".join(f'{name} = {{type = "integer"}}' for name in names)
    backend = echo_of(tmp_path, ", ".join(f'"{{{name}}}"' for name in names), declared)
    given = {name: number for number, name in enumerate(names)}
    assert values_of(backend, **given) == given
