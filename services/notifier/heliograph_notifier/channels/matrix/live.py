"""The editor: keeps the messages about work in progress up to date, in place.

An edit is no delivery. The latest wins, what nobody saw is passed over, and where the homeserver asks for patience the
edits wait longer than the notices do. Only the last one, which says how it ended, is made however long it takes.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from heliograph.channels import Refused, TryLater
from heliograph.notices.model import SubjectKind
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.content import Text, edit, transaction
from heliograph_notifier.channels.matrix.edits import Change, Edits
from heliograph_notifier.channels.matrix.live_messages import LiveMessages, Watch
from heliograph_notifier.channels.matrix.news import News
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_notifier.channels.matrix.standing import GroupReading, Reading, standing

if TYPE_CHECKING:
    from heliograph_notifier.channels.matrix.account import Account  # its import brings the Matrix library along

_log = structlog.get_logger()

_ABREAST = 4  # edits under way, also in one room
_AFTER_NOTICES_SECONDS = 1.0  # what a homeserver slowed down goes to the notices first
_REST_SECONDS = 5.0  # where nobody said for how long
_LEAST_SECONDS = 0.005  # between two looks at what waits
_SHARE = 2  # looking takes at most half of the time, however much there is to look at
_PATIENCE_SECONDS = 1.0  # so long edits wait for notices that are under way; then they go one after the other
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Editor:
    """Edits live messages for the process that has the account."""

    def __init__(self, account: "Account", lives: LiveMessages, news: News, pace: Pace) -> None:
        self._account = account
        self._lives = lives
        self._news = news
        self._pace = pace
        self._watches: dict[str, Watch] = {}
        self._read_at = float("-inf")
        self._edits = Edits()
        self._edited_at: dict[str, float] = {}  # when the last edit of a message went out
        self._free_at: dict[str, float] = {}  # when a room that asked for patience had it
        self._rests_until = 0.0
        self._most = _ABREAST  # that may be under way: fewer for a while where the homeserver asked for patience
        self._deliveries = 0
        self._delivering_since = 0.0
        self._stirred = asyncio.Event()  # something changed in what may be shown

    def watch(self, watch: Watch) -> None:
        """Keep a message up to date from now on."""
        self._watches[watch.id] = watch

    @contextlib.contextmanager
    def delivering(self, room: str) -> Iterator[None]:
        """Let edits wait while a notice goes out to a room."""
        if not self._deliveries:
            self._delivering_since = time.monotonic()
        self._deliveries += 1
        try:
            yield
        except TryLater as later:
            self._rest(later, room)
            raise
        finally:
            self._deliveries -= 1
            self._stirred.set()

    async def run(self) -> None:
        """Edit until cancelled, whenever this process has the account."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._show(group))

    async def _look(self) -> None:
        """Take in what changed, again and again, while edits are under way."""
        while True:
            began = time.monotonic()
            try:
                if self._account.is_owner:
                    await self._take_in()
                    self._stirred.set()
                else:
                    self._read_at = float("-inf")  # another process edits meanwhile, whatever was shown here last
                    self._edits.clear()
            except StoreUnavailableError:
                _log.debug("live messages wait for the database")
            except Exception:  # noqa: BLE001 - whatever it is, the next look may go well
                _log.exception("live messages could not be brought up to date")
            took = time.monotonic() - began
            await asyncio.sleep(max(self._pace.look_seconds, _SHARE * took) - took)

    async def _show(self, group: asyncio.TaskGroup) -> None:
        """Begin edits as soon as they may."""
        while True:
            self._stirred.clear()
            while self._edits.under_way < self._allowed() and (change := self._edits.take(self._is_free)):
                group.create_task(self._make(change))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._stirred.wait()

    def _allowed(self) -> int:
        """Return how many edits may be under way now."""
        now = time.monotonic()
        if not self._account.is_owner or now < self._rests_until:
            return 0
        if self._deliveries:
            return 1 if now >= self._delivering_since + _PATIENCE_SECONDS else 0
        return self._most

    def _pause(self) -> float | None:
        """Return the seconds until an edit may begin if nothing stirs before; None where only that can help."""
        is_full = self._edits.under_way and self._edits.under_way >= self._allowed()
        if is_full or not self._account.is_owner:
            return None
        free_at = min(map(self._turn_at, self._edits.waiting()), default=None)
        if free_at is None:
            return None
        patience = self._delivering_since + _PATIENCE_SECONDS if self._deliveries else 0.0
        return max(_LEAST_SECONDS, max(free_at, self._rests_until, patience) - time.monotonic())

    def _is_free(self, change: Change) -> bool:
        return self._turn_at(change) <= time.monotonic()

    def _turn_at(self, change: Change) -> float:
        """Return when a change may be shown: an end, which is the last one, without regard to the edit before."""
        watch = change.watch
        room_free_at = self._free_at.get(watch.room, 0.0)
        if change.reading.is_over:
            return room_free_at
        return max(self._edited_at.get(watch.id, float("-inf")) + self._pace.edit_seconds, room_free_at)

    async def _take_in(self) -> None:
        if time.monotonic() - self._read_at > self._pace.anew_seconds:
            before = self._watches.copy()
            opened = {watch.id: watch for watch in await self._lives.open()}
            for gone in before.keys() - opened.keys():
                self._forget(before[gone])
            self._watches |= opened  # what was sent meanwhile is there as well
            self._news.forget()
            for group in (each for each in opened.values() if each.subject.kind is SubjectKind.GROUP):
                self._edits.doubt(group)  # it may stand as it did before, and another process have shown it otherwise
            self._read_at = time.monotonic()
            self._free_at = {room: at for room, at in self._free_at.items() if at > self._read_at}
            self._edited_at = {message: at for message, at in self._edited_at.items() if message in self._watches}
        found = await self._news.read(list(self._watches.values()))
        for identifier, reading in sorted(found.items(), key=_changed_at):
            watch = self._watches.get(identifier)
            if watch is None:  # its last edit was made meanwhile
                continue
            if reading is None:
                await self._close(watch)
            else:
                self._edits.put(watch, reading)

    async def _make(self, change: Change) -> None:
        try:
            await self._edit(change)
        except StoreUnavailableError:
            _log.debug("live messages wait for the database")
            self._rests_until = max(self._rests_until, time.monotonic() + self._pace.look_seconds)
        except Exception:  # noqa: BLE001 - one message that cannot be made must not keep all others as they are
            _log.exception("a live message could not be edited", message=change.watch.id)
            self._edits.forget(change.watch)  # until everything is read anew
        finally:
            self._edits.leave(change)
            self._stirred.set()

    async def _edit(self, change: Change) -> None:
        """Show how something stands, where that is not what its message shows."""
        watch, reading = change.watch, change.reading
        live = await self._lives.get(watch.id)
        if live is None or live.over:
            self._forget(watch)
            return
        shown = standing(reading, live.product, with_details=live.with_details)
        if shown.plain != live.shown:
            self._edited_at[watch.id] = time.monotonic()
            content = edit(live.event, Text.blocks([shown, live.rest]))
            try:
                await self._account.send(live.room, content, transaction("edit", live.id, live.edits, reading.mark))
            except TryLater as later:
                self._rest(later, watch.room)
                return
            except Refused as refused:
                _log.info("a live message is left as it is", message=live.id, reply=refused.reply)
                await self._close(watch)
                return
            self._most = min(_ABREAST, self._most + 1)
            await self._lives.note_edit(live, shown.plain)
        self._edits.done(change)
        if reading.is_over:
            await self._close(watch)

    async def _close(self, watch: Watch) -> None:
        await self._lives.close(watch.id)
        self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch.id, None)
        self._edits.forget(watch)

    def _rest(self, later: TryLater, room: str) -> None:
        """Let edits rest where the homeserver is slow, else those of a room."""
        until = time.monotonic() + (later.after_seconds or _REST_SECONDS) + _AFTER_NOTICES_SECONDS
        if later.slow_channel:
            self._rests_until = max(self._rests_until, until)
            self._most = 1  # what was under way asked for the same patience: it is asked for by one alone after that
        else:
            self._free_at[room] = max(self._free_at.get(room, 0.0), until)


def _changed_at(found: tuple[str, Reading | GroupReading | None]) -> datetime:
    """Return since when a message is to show something; groups, of which that is not known, come first."""
    return found[1].updated_at if isinstance(found[1], Reading) else _LONG_AGO
