"""The page on writing a backend: every block of it is run, its package by its own tests and by the real services.

A block is one of these, by its language and first line: a file (``# file: NAME``); shell commands, which are run in the
package's folder; their exact output (``text``); or commands that only a person can run (``# by hand``), listed here.
"""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from heliograph.client import Client
from heliograph.testing import run
from heliograph_worker.catalogue import Catalogue
from tests.parts.ports import free_port

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-backend.md"
BY_HAND = [
    "pip install -e ./stars pytest\n",
    "pip install -e ./stars\nmake up\n",
    'docker build -f services/worker/Dockerfile -t heliograph-worker --build-arg PLUGINS="./stars" .\n',
]
BACKENDS = {"fold", "lookup", "lookup-many", "fetch", "classify", "sort", "survey", "reduce"}
_FILE = re.compile(r"# file: ([\w./-]+)\n")
_SECONDS = 60


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = _FILE.match(self.text)
        return found[1] if found else None

    @property
    def is_by_hand(self) -> bool:
        return self.language == "sh" and self.text.startswith("# by hand\n")

    @property
    def needs_services(self) -> bool:
        return "heliograph " in self.text or "submit.py" in self.text


def blocks() -> list[Block]:
    found = re.findall(r"^```(.*?)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def commands() -> Iterator[tuple[Block, str | None]]:
    """Yield the blocks of commands that are run, each with the output that the page shows, if it does."""
    every = blocks()
    for block, after in zip(every, [*every[1:], None], strict=True):
        if block.language == "sh" and not block.is_by_hand:
            yield block, after.text if after and after.language == "text" else None


def beside(package: Path) -> str:
    """Return where Python finds what is installed, and the package."""
    return os.pathsep.join([str(package), *filter(None, [os.environ.get("PYTHONPATH")])])


def shell(block: Block, folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "HELIOGRAPH"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-eu", "-c", block.text], cwd=folder, text=True, timeout=_SECONDS, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment | {"PYTHONPATH": beside(folder)} | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's package, with what installing it would add: its entry points."""
    folder = tmp_path_factory.mktemp("stars")
    for block in blocks():
        if block.file:
            place = folder / block.file
            place.parent.mkdir(parents=True, exist_ok=True)
            assert not place.exists(), f"{block.file} is written twice"
            place.write_text(block.text)
    installed = folder / "stars-1.0.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stars\nVersion: 1.0.0\n")
    lines = [f"{name} = {source}" for name, source in entry_points(folder).items()]
    (installed / "entry_points.txt").write_text("\n".join(["[heliograph.backends]", *lines]))
    return folder


def entry_points(package: Path) -> dict[str, str]:
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return dict(project["entry-points"]["heliograph.backends"])


def test_no_block_goes_unseen() -> None:
    fences = [line for line in PAGE.read_text().splitlines() if line.lstrip().startswith(("```", "~~~"))]
    assert len(fences) == 2 * len(blocks())
    for block in blocks():
        known = block.file if block.language in {"python", "toml"} else block.language in {"sh", "text"}
        assert known, f"nobody runs this:\n{block.text}"
    outputs = [output for _, output in commands() if output]
    assert len(outputs) == sum(block.language == "text" for block in blocks()), "an output follows its commands"
    assert [block.text.removeprefix("# by hand\n") for block in blocks() if block.is_by_hand] == BY_HAND


def test_the_package_offers_what_the_page_says(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(package)
    found = Catalogue.of(entry_points(package).values())
    assert not found.broken
    assert dict(found.sources) == entry_points(package)
    assert set(found.backends) == BACKENDS
    assert run(found.backends["classify"], {"b_v": 0}).result == {"type": "A0"}


def test_its_own_tests_pass(package: Path) -> None:
    (tests,) = [block for block, _ in commands() if not block.needs_services]
    said = shell(tests, package, PYTEST_ADDOPTS="-W error -p no:cacheprovider -p no:asyncio")
    written = sum(text.count("\ndef test_") for text in (block.text for block in blocks()))
    ran = re.search(r"(\d+) passed", said)
    assert ran
    assert int(ran[1]) == written + 1  # one of them has two cases


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_each_backend_has_a_test(package: Path, backend: str) -> None:
    attribute = entry_points(package)[backend].partition(":")[2]
    assert any(f"run({attribute}, " in path.read_text() for path in (package / "tests").iterdir())


@contextmanager
def services(package: Path, home: Path) -> Iterator[dict[str, str]]:
    """Run all services beside the package; yields the variables that a client needs."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "heliograph_standalone", "up", "--port", str(port), "--home", str(home)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": beside(package)},
    )  # fmt: skip
    try:
        assert process.stdout
        printed = ""
        while not (token := re.search(r"HELIOGRAPH_TOKEN=(\S+)\n", printed)):
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield {"HELIOGRAPH_URL": f"http://127.0.0.1:{port}", "HELIOGRAPH_TOKEN": token[1]}
    finally:
        process.terminate()
        process.communicate(timeout=_SECONDS)


def until_announced(variables: dict[str, str]) -> None:
    """Return once the worker has told of its backends; the api may have begun before it."""
    deadline = time.monotonic() + _SECONDS
    with Client(variables["HELIOGRAPH_URL"], variables["HELIOGRAPH_TOKEN"]) as client:
        while not {backend.name for backend in client.backends()} >= BACKENDS:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_services_do_what_the_page_shows(package: Path, tmp_path: Path) -> None:
    with services(package, tmp_path / "home") as variables:
        until_announced(variables)
        for block, shown in commands():
            if block.needs_services:
                said = shell(block, package, **variables)
                if shown is not None:
                    assert [line.rstrip() for line in said.splitlines()] == shown.splitlines()
    assert (package / "folded.csv").read_text().splitlines() == ["phase,magnitude", "0.0,8.0", "0.5,8.5"]
