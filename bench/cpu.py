"""What processes have used of the CPU, by name."""

from collections.abc import Callable, Mapping

import psutil


def own(pid: int) -> float:
    """Return the CPU seconds of one process."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def below(pid: int) -> float:
    """Return the CPU seconds of all that descends from a process, the ended ones among them."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    seconds: float = times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def tree(pid: int) -> float:
    """Return the CPU seconds of a process and all that descends from it."""
    return own(pid) + below(pid)


class Meter:
    """Reads several clocks at once; each call of ``lap`` returns what they gained since the last."""

    def __init__(self, clocks: Mapping[str, Callable[[], float]]) -> None:
        self._clocks = clocks
        self._before: dict[str, float] = {}
        self.lap()

    def lap(self) -> dict[str, float]:
        now = {name: clock() for name, clock in self._clocks.items()}
        gained = {name: seconds - self._before.get(name, seconds) for name, seconds in now.items()}
        self._before = now
        return gained
