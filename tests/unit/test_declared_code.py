"""Where a command would run its callers' text as code: such a table is refused, and the safe way is not."""

import sys
from pathlib import Path

import pytest
import structlog.testing

from heliograph_worker.backends.arguments import Group
from heliograph_worker.backends.interpreters import find_exposures
from heliograph_worker.catalogue import Catalogue
from tests.parts.declared import load

Argv = list[str | list[str]]


def exposed(argv: Argv) -> list[str]:
    """Return the parameters that would be code; {n} is a number, {o} an optional one, the others a caller's text."""
    groups = [Group.parse(each) for each in argv]
    return [each.placeholder.name for each in find_exposures(groups, {"x", "y"}, {"o"})]


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", "echo {x}"],
        ["/bin/sh", "-c", "{x}"],
        ["bash", "-lc", "echo {x}"],
        ["bash", "-ce", "echo {x}"],
        ["bash", "-c", "-e", "echo {x}"],
        ["bash", "-c", "--", "echo {x}"],
        ["bash", "-euo", "pipefail", "-c", "echo {x}"],
        ["bash", "+o", "posix", "-c", "echo {x}"],
        ["bash", "--norc", "-c", "echo {x}"],
        ["dash", ["-c", "echo {x}"]],
        ["sh", "{n?-c}", "{x}"],
        ["sh", "-c", "{n?true}", "{x}"],
        ["sh", "-c", "{o}", "{x}"],
        ["ksh93", "-c", "{x}"],
        ["tcsh", "-c", "{x}"],
        ["fish", "--command={x}"],
        ["fish", "--command", "{x}"],
        ["python3.11", "-c", "print('{x}')"],
        ["python3", "-Ic", "{x}"],
        ["python", "-W", "ignore", "-c", "{x}"],
        ["python", "-cprint({x})"],
        ["perl", "-e", "{x}"],
        ["perl", "-lane", "print {x}"],
        ["perl", "-i.bak", "-pe", "s/{x}//"],
        ["perl", "-E", "{x}"],
        ["ruby", "-ne", "{x}"],
        ["node", "--eval", "{x}"],
        ["node", "--eval={x}"],
        ["node", "-pe", "{x}"],
        ["node", "-p", "{x}"],
        ["php8.2", "-r", "{x}"],
        ["lua5.4", "-e", "{x}"],
        ["awk", "$1 == {x}"],
        ["awk", "-F", ":", "-v", "a=1", "{x}"],
        ["gawk", "-e", "{x}"],
        ["gawk", "--source={x}"],
        ["mawk", "-F:", "--", "{x}"],
        ["sed", "s/a/{x}/"],
        ["sed", "-n", "{x}", "file"],
        ["sed", "-E", "s/{x}/b/"],
        ["sed", "-ne", "{x}"],
        ["sed", "-e", "p", "-e", "{x}"],
        ["sed", "-e", "p", "file", "-e", "{x}"],
        ["R", "--no-save", "-e", "{x}"],
        ["Rscript", "-e", "{x}"],
        ["env", "A=1", "sh", "-c", "{x}"],
        ["env", "-i", "nice", "-n", "5", "timeout", "10", "bash", "-c", "{x}"],
        ["env", "-S", "sh -c", "{x}"],
        ["nohup", "/usr/bin/python3", "-c", "{x}"],
        ["sudo", "-u", "nobody", "sh", "-c", "{x}"],
        ["xargs", "sh", "-c", "{x}"],
        ["busybox", "sh", "-c", "{x}"],
        ["flock", "file", "-c", "{x}"],
        ["su", "nobody", "-c", "{x}"],
        ["env", "{x}"],
        ["timeout", "10", "{x}"],
    ],
)
def test_a_caller_s_text_in_code_is_found(argv: Argv) -> None:
    assert exposed(argv) == ["x"]


@pytest.mark.parametrize(
    "argv",
    [
        ["sh", "-c", 'echo "$1"', "sh", "{x}"],
        ["sh", "-ec", 'echo "$1"', "sh", "{x}", "-c", "{y}"],
        ["sh", "-c", "{n?true}", "echo", "{x}"],
        ["sh", "-c", "exit {n}"],
        ["sh", "script.sh", "-c", "{x}"],
        ["python3", "-c", "import sys; print(sys.argv[1])", "{x}"],
        ["python3", "script.py", "-c", "{x}"],
        ["python3", "-m", "package", "-c", "{x}"],
        ["python3", "-mpackage", "-c", "{x}"],
        ["perl", "-ne", "print", "{x}"],
        ["perl", "script.pl", "-e", "{x}"],
        ["awk", "-v", "a={x}", "$1 == a", "{y}"],
        ["awk", "-f", "program.awk", "{x}"],
        ["sed", "-n", "{n}p", "{x}"],
        ["sed", "-i", "-e", "s/a/b/", "{x}"],
        ["sed", "-f", "script.sed", "{x}"],
        ["sed", "--file=script.sed", "{x}"],
        ["Rscript", "script.R", "-e", "{x}"],
        ["node", "script.js", "--eval", "{x}"],
        ["grep", "-e", "{x}"],
        ["tar", "-c", "{x}"],
        ["solve-field", "-c", "{x}", "sh", "-c", "{y}"],
        ["env", "A={x}", "solve-field", "{y}"],
        ["timeout", "{n}", "wc", "-c", "{x}"],
        ["sudo", "-u", "{x}", "wc", "-c", "{y}"],
    ],
)
def test_a_text_as_an_argument_of_its_own_is_no_code(argv: Argv) -> None:
    assert exposed(argv) == []


@pytest.mark.parametrize(
    ("parameter", "passes"),
    [
        ('{type = "text"}', False),
        ('{type = "text", pattern = "[a-z]+"}', False),
        ('{type = "file"}', False),
        ('{type = "text", choices = ["a"]}', True),
        ('{type = "choice", choices = ["a"]}', True),
        ('{type = "integer"}', True),
        ('{type = "number"}', True),
        ('{type = "boolean"}', True),
    ],
)
def test_a_table_that_runs_a_caller_s_text_is_refused(tmp_path: Path, parameter: str, passes: bool) -> None:
    text = f'[command.echo]\nargv = ["sh", "-c", "echo {{x}}"]\nparameters = {{x = {parameter}}}'
    catalogue = load(tmp_path, text)
    told = (
        "[command.echo] argv.2: sh would run what a caller writes in {x}; write code without it, and give {x} as "
        'an argument of its own after the code, where the code reads it as "$1"'
    )
    assert list(catalogue.broken.values()) == ([] if passes else [told])


@pytest.mark.parametrize(
    ("content", "source", "has_traceback"),
    [
        ("", "point:nowhere", False),
        ("", "point.sub:nowhere", False),
        ("", "no_such_package.sub:nowhere", False),
        ("import no_such_module", "point:found", True),
        ("import math\nmath.nosuch", "point:found", True),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_logged_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, source: str, has_traceback: bool
) -> None:
    (tmp_path / "point.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "point", raising=False)
    with structlog.testing.capture_logs() as logs:
        Catalogue.of([source])
    (line,) = logs
    assert line["event"] == "backend.broken"
    assert ("exc_info" in line) is has_traceback
