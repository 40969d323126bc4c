"""What waits to be shown, room by room: of each message the latest alone, and first what is over."""

from collections.abc import Iterator

from heliograph_notifier.channels.matrix.live_messages import Watch
from heliograph_notifier.channels.matrix.standing import GroupReading, Reading


class Edits:
    """A queue for each room; whoever waits keeps their place when there is something newer to show."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[str, Reading | GroupReading]] = {}
        self._others: dict[str, dict[str, Reading | GroupReading]] = {}
        self._turns: dict[str, int] = {}  # the most that waited at a time, until nothing does
        self._known: dict[str, str] = {}  # what was taken in last of each message, by its mark

    def put(self, watch: Watch, reading: Reading | GroupReading) -> None:
        """Take in how something stands, unless that is known."""
        if self._known.get(watch.id) == reading.mark:
            return
        self._known[watch.id] = reading.mark
        queue, other = (self._ends, self._others) if reading.is_over else (self._others, self._ends)
        queue.setdefault(watch.room, {})[watch.id] = reading
        self._take_out(other, watch)
        waiting = len(self._ends.get(watch.room, ())) + len(self._others.get(watch.room, ()))
        self._turns[watch.room] = max(self._turns.get(watch.room, 0), waiting)

    def rooms(self) -> Iterator[str]:
        """Return the rooms in which something waits."""
        return iter({**self._ends, **self._others})

    def turns(self, room: str) -> int:
        """Return among how many messages a room's time is shared: those that waited at once, until none does.

        By how many still wait, the last of twenty would wait three times as long as one alone.
        """
        return self._turns.get(room, 1)

    def first(self, room: str) -> tuple[str, Reading | GroupReading] | None:
        """Return what is next in a room; it stays until it is ``done``."""
        for queue in (self._ends, self._others):
            if waiting := queue.get(room):
                return next(iter(waiting.items()))
        return None

    def done(self, watch: Watch, reading: Reading | GroupReading) -> None:
        """Take out what was shown, unless there is something newer."""
        for queue in (self._ends, self._others):
            if queue.get(watch.room, {}).get(watch.id) is reading:
                self._take_out(queue, watch)

    def forget(self, watch: Watch) -> None:
        """Take out whatever there is of a message."""
        self._known.pop(watch.id, None)
        self._take_out(self._ends, watch)
        self._take_out(self._others, watch)

    def _take_out(self, queue: dict[str, dict[str, Reading | GroupReading]], watch: Watch) -> None:
        if waiting := queue.get(watch.room):
            waiting.pop(watch.id, None)
            if not waiting:
                del queue[watch.room]
        if watch.room not in self._ends and watch.room not in self._others:
            self._turns.pop(watch.room, None)
