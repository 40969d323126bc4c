"""The demo with a room: what a newcomer who tries it with Matrix sees."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import need
from tests.parts.synapse import ROOT, synapse_missing


def test_the_demo_tells_an_encrypted_room_and_shows_it_as_its_members_see_it(tmp_path: Path) -> None:
    need("Synapse", synapse_missing())
    ran = subprocess.run(
        [sys.executable, "-m", "heliograph_standalone", "demo", "--matrix", "--results", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr
    summary = json.loads(ran.stdout.splitlines()[-1])
    (message,) = summary["room"]
    assert message["thread"] == 1
    assert message["edits"] >= 1
    assert "cannot be decrypted" not in ran.stdout
    assert "sunspot cycle, 1700-2008: done in" in ran.stdout
