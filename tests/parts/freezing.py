"""Freezing a process so that it has really stopped when the next line runs."""

import os
import signal
import time
from pathlib import Path

_MOST_SECONDS = 10.0


def freeze(process: int) -> None:
    """Stop a process and wait until each of its threads stands still.

    A signal is only a request: on a busy machine, threads on other processors go on for a while and answer.
    """
    os.kill(process, signal.SIGSTOP)
    deadline = time.monotonic() + _MOST_SECONDS
    while not _stands_still(process):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process} does not stop")
        time.sleep(0.001)


def _stands_still(process: int) -> bool:
    return all(_state(stat) in "TZX" for stat in Path(f"/proc/{process}/task").glob("*/stat"))


def _state(stat: Path) -> str:
    try:
        # The state follows the command's name, which stands in brackets and may itself hold any character.
        return stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"  # a thread that has ended since the folder was read
