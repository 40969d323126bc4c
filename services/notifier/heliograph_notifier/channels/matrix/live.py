"""The editor: keeps the messages about work in progress up to date, in place.

An edit is no delivery. The latest wins, what nobody saw is passed over, and where the homeserver asks for patience the
edits wait longer than the notices do. Only the last one, which says how it ended, is made however long it takes.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import structlog

from heliograph.abreast import abreast
from heliograph.channels import Refused, TryLater
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.content import Text, edit, transaction
from heliograph_notifier.channels.matrix.edits import Edits
from heliograph_notifier.channels.matrix.live_messages import LiveMessages, Watch
from heliograph_notifier.channels.matrix.news import News
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_notifier.channels.matrix.standing import GroupReading, Reading, standing

if TYPE_CHECKING:
    from heliograph_notifier.channels.matrix.account import Account  # its import brings the Matrix library along

_log = structlog.get_logger()

_ABREAST = 4
_AFTER_NOTICES_SECONDS = 1.0  # what a homeserver slowed down goes to the notices first
_REST_SECONDS = 5.0  # where nobody said for how long
_LEAST_SECONDS = 0.005  # between two rounds; where many wait in one room it comes on top of each edit
_SHARE = 5  # looking takes at most a fifth of the time, however much there is to look at
_PATIENCE_SECONDS = 1.0  # so long a round waits for notices that are under way


class Editor:
    """Edits live messages for the process that has the account."""

    def __init__(self, account: "Account", lives: LiveMessages, news: News, pace: Pace) -> None:
        self._account = account
        self._lives = lives
        self._news = news
        self._pace = pace
        self._watches: dict[str, Watch] = {}
        self._read_at = self._look_at = float("-inf")
        self._edits = Edits()
        self._edited_at: dict[str, float] = {}  # when the last edit in a room went out
        self._free_at: dict[str, float] = {}  # when a room that asked for patience had it
        self._rests_until = 0.0
        self._deliveries = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def watch(self, watch: Watch) -> None:
        """Keep a message up to date from now on."""
        self._watches[watch.id] = watch

    @contextlib.contextmanager
    def delivering(self, room: str) -> Iterator[None]:
        """Let edits wait while a notice goes out to a room."""
        self._deliveries += 1
        self._idle.clear()
        try:
            yield
        except TryLater as later:
            self._rest(later, room)
            raise
        finally:
            self._deliveries -= 1
            if not self._deliveries:
                self._idle.set()

    async def run(self) -> None:
        """Edit until cancelled, whenever this process has the account."""
        while True:
            try:
                if self._account.is_owner:
                    await self._round()
                else:
                    self._read_at = self._look_at = float("-inf")  # another process edits meanwhile
            except StoreUnavailableError:
                _log.debug("live messages wait for the database")
            except Exception:  # noqa: BLE001 - whatever it is, the next look may go well
                _log.exception("live messages could not be brought up to date")
            await asyncio.sleep(self._pause())

    async def _round(self) -> None:
        began = time.monotonic()
        if began >= self._look_at:
            self._look_at = began + self._pace.look_seconds  # also where this one fails
            await self._take_in()
            self._look_at = max(self._look_at, began + _SHARE * (time.monotonic() - began))
        if began < self._rests_until:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._idle.wait()
        free = [room for room in self._edits.rooms() if self._turn_at(room) <= time.monotonic()]
        await abreast(self._serve, free, most=_ABREAST)

    def _pause(self) -> float:
        """Return the seconds until there is something to look at, or a room in which something waits is free."""
        if not self._account.is_owner:
            return self._pace.look_seconds
        free_at = min((self._turn_at(room) for room in self._edits.rooms()), default=float("inf"))
        return max(_LEAST_SECONDS, min(self._look_at, max(free_at, self._rests_until)) - time.monotonic())

    def _turn_at(self, room: str) -> float:
        """Return when the next edit in a room may go out: the sooner, the more wait."""
        apart_seconds = self._pace.edit_seconds / self._edits.turns(room)
        return max(self._edited_at.get(room, 0.0) + apart_seconds, self._free_at.get(room, 0.0))

    async def _take_in(self) -> None:
        if time.monotonic() - self._read_at > self._pace.anew_seconds:
            before = self._watches.copy()
            opened = {watch.id: watch for watch in await self._lives.open()}
            for gone in before.keys() - opened.keys():
                self._forget(before[gone])
            self._watches |= opened  # what was sent meanwhile is there as well
            self._news.forget()
            self._read_at = time.monotonic()
            self._free_at = {room: at for room, at in self._free_at.items() if at > self._read_at}
            since = self._read_at - self._pace.edit_seconds
            self._edited_at = {room: at for room, at in self._edited_at.items() if at > since}
        for identifier, reading in (await self._news.read(list(self._watches.values()))).items():
            watch = self._watches[identifier]
            if reading is None:
                await self._close(watch)
            else:
                self._edits.put(watch, reading)

    async def _serve(self, room: str) -> None:
        """Make one edit in a room; what needs none is passed over."""
        while waiting := self._edits.first(room):
            identifier, reading = waiting
            watch = self._watches[identifier]
            try:
                if await self._edit(watch, reading):
                    return
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: BLE001 - one message that cannot be made must not keep all others as they are
                _log.exception("a live message could not be edited", message=identifier)
                self._edits.forget(watch)  # until everything is read anew
                return

    async def _edit(self, watch: Watch, reading: Reading | GroupReading) -> bool:
        """Show how something stands, and return whether something was sent, or would have been."""
        live = await self._lives.get(watch.id)
        if live is None or live.over:
            self._forget(watch)
            return False
        shown = standing(reading, live.product, with_details=live.with_details)
        is_edited = shown.plain != live.shown
        if is_edited:
            self._edited_at[watch.room] = time.monotonic()
            content = edit(live.event, Text.blocks([shown, live.rest]))
            try:
                await self._account.send(live.room, content, transaction("edit", live.id, live.edits, reading.mark))
            except TryLater as later:
                self._rest(later, watch.room)
                return True
            except Refused as refused:
                _log.info("a live message is left as it is", message=live.id, reply=refused.reply)
                await self._close(watch)
                return True
            await self._lives.note_edit(live, shown.plain)
        self._edits.done(watch, reading)
        if reading.is_over:
            await self._close(watch)
        return is_edited

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
        else:
            self._free_at[room] = until
