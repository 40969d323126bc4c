"""The operator's file of backends: what it may say, how its mistakes are told, what becomes of a caller's values."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from heliograph.backends import FatalError, Limits, Retry
from heliograph_worker import account
from heliograph_worker.account import AccountError, find_account
from heliograph_worker.backends.call import CallTable
from heliograph_worker.backends.command import CommandTable
from heliograph_worker.backends.declared import BackendsFileError
from heliograph_worker.backends.function import FunctionTable
from heliograph_worker.backends.http_table import HttpTable
from heliograph_worker.backends.parameters import Boolean, Choice, File, Number, Text
from heliograph_worker.backends.shell import ShellTable
from heliograph_worker.catalogue import Catalogue
from heliograph_worker.sources import resolve
from tests.parts.declared import load, only, values_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "backends.toml"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "solve-field").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_a_table_says_all_that_a_plugin_says(tmp_path: Path) -> None:
    backend = only(
        tmp_path,
        """
        [command.tidy-up]
        argv = ["true"]
        title = "Tidy"
        description = "Tidies up."
        version = "2.1"
        timeout = 90
        memory = "2 GB"
        roles = ["staff"]
        limits = {total = 5, per_owner = 2}
        retry = "off"
        """,
    )
    assert (backend.name, backend.title, backend.description) == ("tidy-up", "Tidy", "Tidies up.")
    assert (backend.version, backend.timeout, backend.memory) == ("2.1", timedelta(seconds=90), 2 * 10**9)
    assert (backend.roles, backend.limits) == (("staff",), Limits(total=5, per_owner=2))
    assert backend.retry == Retry(kinds=frozenset())


def test_what_a_table_leaves_out_has_a_default(tmp_path: Path) -> None:
    backend = only(tmp_path, '[command.x]\nargv = ["true"]')
    assert (backend.title, backend.version, backend.timeout) == ("x", "1", timedelta(hours=1))
    assert (backend.memory, backend.roles, backend.limits, backend.retry) == (None, (), Limits(), Retry())
    assert backend.description == "Runs the program true."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[comand.x]", "[comand]: is no table of this file; those are [command.NAME], "),
        ("http = 5", "[http]: is no table; write [http.NAME]"),
        ('[command]\nargv = ["true"]', "[command.argv]: is no table; write [command.NAME]"),
        ("[command.x]", "[command.x] argv: is missing"),
        ("[command.x]\nargv = []", "[command.x] argv: must not be empty"),
        ('[command.X]\nargv = ["true"]', "[command.X] name: must be 1 to 64 of a-z"),
        ('[command.x]\nargv = ["true"]\nnick = 1', "[command.x] knows no key nick; those are title, "),
        ('[command.x]\nargv = ["true"]\ntimeout = "5"', "[command.x] timeout: must be a number"),
        ('[command.x]\nargv = ["true"]\ntimeout = inf', "[command.x] timeout: "),
        ('[command.x]\nargv = ["true"]\ntimeout = 2026-01-01', "[command.x] timeout: must be a number"),
        ('[command.x]\nargv = ["true"]\nversion = "next"', "[command.x] version: must look like 1.0.0"),
        ('[command.x]\nargv = ["true"]\nmemory = "2 sheep"', "[command.x] memory: is a number of bytes, or a text"),
        ('[command.x]\nargv = ["true"]\nmemory = 5', "[command.x] memory: must be at least 67108864"),
        ('[command.x]\nargv = ["true"]\nlimits = {total = 0}', "[command.x] limits.total: must be at least 1"),
        ('[command.x]\nargv = ["true"]\nretry = "often"', "[command.x] retry: must be 'off' or 'default'"),
        ('[command.x]\nargv = ["no-such-program"]', "[command.x] argv.0: there is no program no-such-program"),
        ('[command.x]\nargv = ["bin/true"]', "[command.x] argv.0: bin/true is a path without a beginning"),
        ('[command.x]\nargv = ["{x}"]', "[command.x] argv.0: is the program itself, which no parameter chooses"),
        ('[command.x]\nargv = [["true"]]', "[command.x] argv.0: is the program itself"),
        ('[command.x]\nargv = ["true", "{x}"]', "[command.x] argv: {x} is no parameter; declare it"),
        ('[command.x]\nargv = ["true", "{x!r}"]', "[command.x] argv.1: '{x!r}' has a brace that belongs to no"),
        ('[command.x]\nargv = ["true"]\nartifacts = ["../*"]', "[command.x] artifacts: '../*' is no pattern"),
        ('[command.x]\nargv = ["true"]\nartifacts = ["/etc/*"]', "[command.x] artifacts: '/etc/*' is no pattern"),
        ('[command.x]\nargv = ["true"]\nusage_codes = [0]', "[command.x] usage_codes.0: must be at least 1"),
        (
            '[command.x]\nargv = ["true"]\nusage_codes = [2]\ntransient_codes = [2]',
            "[command.x] transient_codes: 2 is one of the usage_codes as well",
        ),
        ("[call]\nfunctions = []", "[call] functions: must not be empty"),
        ('[call]\nfunctions = ["math.hypot"]', "[call] functions.0: must look like package.module:name"),
        (
            '[call]\nfunctions = ["no_such_package.x:y"]',
            "[call] functions.0: no_such_package.x:y is not to be had on this worker",
        ),
        (
            '[call]\nfunctions = ["math:nosuch"]',
            "[call] functions.0: math:nosuch is not to be had on this worker: module ",
        ),
        ('[call]\nfunctions = ["math:hypot", "os:sep"]', "[call] functions.1: os:sep is no function but str"),
        ("call = 1", "[call]: is no table; write [call]"),
        ('[shell]\nroles = ["staff"]', "[shell] user: is missing"),
        ('[shell]\nuser = "nobody"', "[shell] roles: is missing"),
        ('[function]\nuser = "nobody"\nroles = []', "[function] roles: must not be empty"),
        ('[shell]\nuser = "no-such-user"\nroles = ["staff"]', "[shell] user: there is no user no-such-user here; make"),
        ('[function]\nuser = "root"\nroles = ["staff"]', "[function] user: root is root, or of its group"),
    ],
)
def test_a_mistake_is_told_with_its_table_and_key_and_costs_no_other_backend(
    tmp_path: Path, text: str, told: str
) -> None:
    catalogue = load(tmp_path, f'{text}\n[command.good]\nargv = ["true"]\n')
    assert list(catalogue.backends) == ["good"]
    ((place, reason),) = catalogue.broken.items()
    assert place.startswith(f"{tmp_path / 'backends.toml'} [")
    assert reason.startswith(told)


def test_all_mistakes_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    text = """
    [command.x]
    argv = ["no-such-program", "{x}", "{y}", "{z}"]
    timeot = 5
    limits = {totl = 1}
    memory = "2 sheep"
    usage_codes = [2]
    transient_codes = [2]
    [command.x.parameters]
    x = {type = "int"}
    y = {max = 5, type = "text", maxlength = 5}
    u = {type = "text", default = "-x"}
    """
    (reason,) = load(tmp_path, text).broken.values()
    head, *told = reason.split("; ")
    assert head == '[command.x] memory: is a number of bytes, or a text such as "500 MB", "2 GB" or "2 GiB"'
    assert told == [
        "limits: knows no key totl", "did you mean total?",
        "parameters.x.type: must be one of text, integer, number, boolean, file, choice",
        "parameters.y: knows no key max",
        "those are description, optional, type, max_length, pattern, choices, may_start_with_dash, secret, default",
        "parameters.y: knows no key maxlength", "did you mean max_length?",
        "knows no key timeot", "did you mean timeout?",
        "argv.0: there is no program no-such-program on this worker",
        "argv: {z} is no parameter", "declare it in the table's parameters",
        "parameters.u: stands nowhere in argv",
        "transient_codes: 2 is one of the usage_codes as well",
        "parameters.u.default: must not begin with a dash",
    ]  # fmt: skip


def test_all_functions_that_are_not_there_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    functions = ["math:nosuch", "math:hypot", "leaves_at_once:f", "json:dumps.x"]
    (reason,) = load(tmp_path, f"[call]\nfunctions = {functions}").broken.values()
    absent = "is not to be had on this worker"
    assert reason.split("; ") == [
        f"[call] functions.0: math:nosuch {absent}: module 'math' has no attribute 'nosuch'",
        f"functions.2: leaves_at_once:f {absent}: SystemExit: 3",
        f"functions.3: json:dumps.x {absent}: 'function' object has no attribute 'x'",
    ]


def test_a_function_that_is_there_no_more_fails_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passing.py").write_text("def run(): return 1")
    monkeypatch.syspath_prepend(tmp_path)
    catalogue = load(tmp_path, '[call]\nfunctions = ["passing:run"]')
    monkeypatch.delattr("passing.run")
    backend = resolve(catalogue.sources["call"])
    with pytest.raises(FatalError, match=r"^passing:run is not to be had on this worker: module 'passing' has no"):
        backend.function(backend.parse({"function": "passing:run"}, {}), None)  # type: ignore[arg-type] # it asks nothing of its job


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"[command", "it is not TOML: "),
        (b"[call]\nfunctions = []\n[call]", "it is not TOML: "),
        (b"# \xff", "it is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_ends_the_start_with_a_sentence(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    file = tmp_path / "backends.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BackendsFileError) as caught:
        Catalogue.load(file)
    assert str(caught.value).startswith(f"HELIOGRAPH_BACKENDS_FILE names {file}, which cannot be read: {why}")


def test_one_name_claimed_by_a_plugin_and_a_table_means_neither(tmp_path: Path) -> None:
    catalogue = load(tmp_path, '[command.sum]\nargv = ["true"]', "tests.backends_for_tests.good:add")
    assert not catalogue.backends
    reason = f"the name sum is claimed by {tmp_path}/backends.toml [command.sum] and tests.backends_for_tests.good:add"
    assert set(catalogue.broken.values()) == {reason}


def test_two_tables_may_not_share_a_name(tmp_path: Path) -> None:
    catalogue = load(tmp_path, '[call]\nfunctions = ["math:hypot"]\n[command.call]\nargv = ["true"]')
    assert not catalogue.backends
    assert len(catalogue.broken) == 2


def test_a_child_makes_the_same_backend_without_the_file(tmp_path: Path) -> None:
    catalogue = load(
        tmp_path, '[command.echo]\nargv = ["echo", "{x}"]\n[command.echo.parameters]\nx = {type = "number"}'
    )
    (tmp_path / "backends.toml").unlink()
    again = resolve(catalogue.sources["echo"])
    assert (again.name, again.schema()) == ("echo", catalogue.backends["echo"].schema())


def test_a_plugin_s_process_loads_nothing_of_this() -> None:
    code = "import sys, heliograph_worker.child.runner; print([name for name in sys.modules if '.backends.' in name])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "heliograph_worker.backends" not in done.stdout
    assert "heliograph.backends.files" in done.stdout


def test_the_example_can_be_used_as_it_is(programs: None, tmp_path: Path) -> None:
    catalogue = Catalogue.of([], EXAMPLE)
    assert not catalogue.broken
    assert set(catalogue.backends) == {"solve-field", "cutouts", "call"}
    solve = catalogue.backends["solve-field"]
    assert values_of(solve, image="A", scale_low=0.5) == {
        "image": Path("/scratch/A/-table.csv"), "scale_low": 0.5, "scale_high": None, "no_plots": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "model", [CommandTable, CallTable, HttpTable, FunctionTable, ShellTable, Text, Number, Choice, File, Boolean]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "operating-backends.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`]+`|^    .*$", page, re.MULTILINE))))
    assert model.model_fields.keys() <= words


def test_what_the_example_shows_switched_off_can_be_switched_on(
    programs: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heliograph_worker.backends.declared.find_account", lambda name: name)
    on = EXAMPLE.read_text(encoding="utf-8").replace("\n# [", "\n[")
    for key in ("user", "roles", "timeout", "limits"):
        on = on.replace(f"\n# {key} =", f"\n{key} =")
    catalogue = load(tmp_path, on)
    assert not catalogue.broken
    assert {"function", "shell"} <= set(catalogue.backends)
    assert set(catalogue.accounts) == {"function", "shell"}
    assert catalogue.backends["shell"].roles == ("trusted",)


def test_a_call_offers_the_listed_functions_alone(tmp_path: Path) -> None:
    backend = only(tmp_path, '[call]\nfunctions = ["math:hypot", "json:dumps"]')
    assert backend.schema()["properties"]["function"]["enum"] == ["math:hypot", "json:dumps"]
    with pytest.raises(ValidationError):
        backend.parse({"function": "os:system", "args": ["id"]}, {})


def test_what_runs_a_caller_s_code_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heliograph_worker.backends.declared.find_account", lambda name: name)
    text = "".join(f'[{kind}]\nuser = "jobs"\nroles = ["staff"]\n' for kind in ("function", "shell"))
    backends = load(tmp_path, text).backends
    for backend in backends.values():
        assert "run as a user of its own" in backend.schema()["description"]
        assert "as the user jobs" in backend.description
    assert "Reading it runs whatever code it holds" in json.dumps(backends["function"].schema())


@pytest.mark.parametrize(
    ("euid", "capabilities", "told"),
    [
        (1000, -1, "only a worker started as root runs jobs as nobody; this one is user 1000"),
        (65534, -1, "nobody is the worker's own user; name another, and start the worker as root"),
        (0, 0, "this worker is root without the right to run jobs as nobody; add CHOWN, DAC_OVERRIDE, FOWNER, KILL"),
        (0, ~(1 << 5), "this worker is root without the right to run jobs as nobody; add KILL"),
    ],
)
def test_an_account_that_cannot_be_used_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, euid: int, capabilities: int, told: str
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: euid)
    monkeypatch.setattr(account, "_capabilities", lambda: capabilities)
    with pytest.raises(AccountError, match=f"^{told}"):
        find_account("nobody")
