"""Backends that do what a worker has to bear; child processes import them. And who watches them in a test."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from heliograph.backends import FatalError
from heliograph_worker.protocol import Topic

_GOOD = (
    "add",
    "add_slowly",
    "where",
    "talk",
    "steps",
    "chatter",
    "files",
    "bad_file_name",
    "read",
    "secret",
    "complain",
    "surroundings",
    "surroundings_pid",
)
_BAD = (
    *("crash", "broken_exception", "surrogate_exception", "cancelled_by_nobody", "result", "flood", "much"),
    *("hang", "hang_async", "family", "thread", "fork", "copy", "meddle"),
)
SOURCES = [f"{__name__}.{module}:{name}" for module, names in (("good", _GOOD), ("bad", _BAD)) for name in names]


def environment() -> dict[str, str]:
    """Return variables with which a child process finds this package."""
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    rest = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # that hides what waits
    return rest | {"PYTHONPATH": os.pathsep.join(places)}


class Recorder:
    """Stands where a worker does: keeps what an execution tells, and answers what it asks."""

    def __init__(self, *, slow: bool = False, full: bool = False, stuck: bool = False) -> None:
        self._slow = slow
        self._full = full
        self._stuck = stuck
        self.asked_to_keep = asyncio.Event()
        self.progress_seen: list[tuple[float | None, str | None, float | None, str | None]] = []
        self.pieces: list[bytes] = []
        self.artifacts: dict[str, tuple[bytes, str]] = {}

    @property
    def text(self) -> str:
        return b"".join(self.pieces).decode()

    async def progress(
        self, fraction: float | None, stage: str | None, eta_seconds: float | None, message: str | None
    ) -> None:
        self.progress_seen.append((fraction, stage, eta_seconds, message))
        await asyncio.sleep(0.05 if self._slow else 0)

    async def log(self, data: bytes) -> None:
        self.pieces.append(data)

    async def artifact(self, name: str, path: Path, media_type: str) -> None:
        self.asked_to_keep.set()
        await asyncio.sleep(0.2 if self._slow else 0)
        if self._stuck:
            await asyncio.Event().wait()
        if self._full:
            raise OSError("the store is full")
        self.artifacts[name] = (await asyncio.to_thread(path.read_bytes), media_type)

    async def answer(self, topic: Topic, content: Any) -> Any:
        raise FatalError("nobody answers here")


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds that announces itself to nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - processes and files set no event
            await asyncio.sleep(0.005)
