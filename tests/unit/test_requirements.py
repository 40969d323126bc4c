"""That each part starts with what it declares to need: an image holds nothing else, and this environment everything."""

import subprocess
import sys
from importlib.metadata import distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What is imported there, in an interpreter that finds no other distribution's modules.
IMPORT = """
import importlib, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"{name} is not declared", name=name)

missing = set(sys.argv[2].split(","))
sys.meta_path.insert(0, Missing())
for module in sys.argv[1].split(","):
    importlib.import_module(module)
"""


def declared(text: str) -> set[str]:
    """Return the distributions that a requirement brings with it, itself included."""
    waiting = [Requirement(text)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        waiting += [
            inner
            for inner in map(Requirement, distribution(name).requires or [])
            if inner.marker is None or any(inner.marker.evaluate({"extra": each}) for each in extras | {""})
        ]
    return {name for name, _ in seen}


@pytest.mark.parametrize(
    ("requirement", "modules"),
    [
        ("heliograph-api", "heliograph_api.__main__,heliograph_api.app"),
        ("heliograph-worker", "heliograph_worker.__main__,heliograph_worker.app,heliograph_worker.child.runner"),
        ("heliograph-notifier", "heliograph_notifier.__main__,heliograph_notifier.app"),
        ("heliograph[client]", "heliograph.client,heliograph.client.cli"),
        ("heliograph", "heliograph.backends,heliograph.testing,heliograph.channels,heliograph.events"),
    ],
)
def test_a_part_starts_with_what_it_declares(requirement: str, modules: str) -> None:
    brought = declared(requirement)
    missing = {
        module
        for module, owners in packages_distributions().items()
        if not brought & set(map(canonicalize_name, owners))
    }
    command = [sys.executable, "-c", IMPORT, modules, ",".join(missing)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
