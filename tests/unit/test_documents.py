"""The documents that are taken from the code say what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_written_documents_are_up_to_date() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "docs/build.py", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, f"run `make docs`: {check.stdout}{check.stderr}"
