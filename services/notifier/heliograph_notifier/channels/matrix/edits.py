"""What waits to be shown: of each message the latest alone, and first what is over or has waited longest."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from heliograph_notifier.channels.matrix.live_messages import Watch
from heliograph_notifier.channels.matrix.standing import GroupReading, Reading


@dataclass(frozen=True, slots=True)
class Change:
    """What a message is to show."""

    watch: Watch
    reading: Reading | GroupReading


class Edits:
    """The changes of all rooms. Of one message one change at a time is under way; of a room several may be."""

    def __init__(self) -> None:
        self._ends: dict[str, Change] = {}
        self._others: dict[str, Change] = {}
        self._under_way: dict[str, Change] = {}
        self._abreast: Counter[str] = Counter()  # changes under way in each room
        self._known: dict[str, str] = {}  # what was taken in last of each message, by its mark

    @property
    def under_way(self) -> int:
        """How many are being shown."""
        return len(self._under_way)

    def put(self, watch: Watch, reading: Reading | GroupReading) -> None:
        """Take in how something stands, unless that is known; what nobody saw gives its place to it."""
        if self._known.get(watch.id) == reading.mark:
            return
        self._known[watch.id] = reading.mark
        queue, other = (self._ends, self._others) if reading.is_over else (self._others, self._ends)
        queue[watch.id] = Change(watch, reading)
        other.pop(watch.id, None)

    def waiting(self) -> Iterator[Change]:
        """Yield what can be shown next: not what is of a message that is just being edited."""
        for queue in (self._ends, self._others):
            yield from (change for identifier, change in queue.items() if identifier not in self._under_way)

    def take(self, is_free: Callable[[Change], bool]) -> Change | None:
        """Return what is next; it is under way until ``leave``, and waits on unless it is ``done``.

        The rooms in which the least is under way come first, so that one with a thousand messages keeps none waiting.
        """
        found: Change | None = None
        for change in self.waiting():
            if is_free(change) and (not found or self._abreast[change.watch.room] < self._abreast[found.watch.room]):
                found = change
                if not self._abreast[change.watch.room]:
                    break
        if found:
            self._under_way[found.watch.id] = found
            self._abreast[found.watch.room] += 1
        return found

    def leave(self, change: Change) -> None:
        """Have a change under way no more, whatever came of it."""
        del self._under_way[change.watch.id]
        self._abreast[change.watch.room] -= 1
        if not self._abreast[change.watch.room]:
            del self._abreast[change.watch.room]

    def done(self, change: Change) -> None:
        """Take out what was shown; where there is something newer, that waits behind what has waited longer."""
        identifier = change.watch.id
        for queue in (self._ends, self._others):
            newer = queue.pop(identifier, None)
            if newer and newer is not change:
                queue[identifier] = newer

    def doubt(self, watch: Watch) -> None:
        """Take in the next word about a message, also where it is the one that is known."""
        self._known.pop(watch.id, None)

    def clear(self) -> None:
        """Forget all that is known and all that waits; what is under way goes on."""
        for kept in (self._known, self._ends, self._others):
            kept.clear()

    def forget(self, watch: Watch) -> None:
        """Take out whatever there is of a message."""
        for kept in (self._known, self._ends, self._others):
            kept.pop(watch.id, None)
