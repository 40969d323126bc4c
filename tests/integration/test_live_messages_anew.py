"""A message about a group, edited by one notifier and then by another, shows how the group stands now."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

from heliograph.jobs.states import State
from heliograph.notices.model import Subject, SubjectKind
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.account import Account
from heliograph_notifier.channels.matrix.content import Text
from heliograph_notifier.channels.matrix.live import Editor
from heliograph_notifier.channels.matrix.live_messages import LiveMessage, LiveMessages, Watch
from heliograph_notifier.channels.matrix.news import News
from heliograph_notifier.channels.matrix.pace import Pace
from heliograph_notifier.channels.matrix.standing import GroupReading
from tests.parts.jobs import Stores
from tests.parts.waiting import until

BEFORE = {State.DONE: 3, State.RUNNING: 2, State.QUEUED: 5}
MEANWHILE = {State.DONE: 3, State.FAILED: 1, State.RUNNING: 1, State.QUEUED: 5}
GROUP = LiveMessage(
    Subject(SubjectKind.GROUP, "survey"), 1, "!room", "$first", "key", "Survey", Text("", ""), shown=""
)  # fmt: skip
SOON, NEVER = 0.05, 3600.0


class Room:
    """What a group's message was edited to show, one after the other."""

    def __init__(self, lives: LiveMessages) -> None:
        self.lives = lives
        self.texts: list[str] = []
        self._seen = 0

    async def shows(self, text: str) -> None:
        """Return once it shows something, after what was last waited for, and that is recorded."""

        async def is_shown() -> bool:
            live = await self.lives.get(GROUP.id)
            return text in self.texts[self._seen :] and live is not None and text in live.shown

        await until(is_shown, within_seconds=20)
        self._seen = self.texts.index(text, self._seen) + 1


class Notifier:
    """One that has a room's account or not, and reads that its group stands ``as_read``.

    What it cannot send waits with it.
    """

    def __init__(
        self, room: Room, as_read: Mapping[State, int], *, anew_seconds: float = NEVER
    ) -> None:  # fmt: skip
        self.is_owner = False
        self.can_send = True
        self._room = room
        self.as_read = as_read
        pace = Pace(look_seconds=SOON, edit_seconds=SOON, anew_seconds=anew_seconds)
        self.editor = Editor(cast("Account", self), room.lives, cast("News", self), pace)

    async def send(self, room: str, content: Mapping[str, Any], txn: str) -> str:
        if not self.can_send:
            raise StoreUnavailableError("away")
        self._room.texts.append(content["m.new_content"]["body"].splitlines()[1])
        return txn

    def forget(self) -> None:
        """Keep nothing in mind."""

    async def read(self, watches: Iterable[Watch]) -> dict[str, GroupReading]:
        return {watch.id: GroupReading(self.as_read) for watch in watches}

    @contextlib.asynccontextmanager
    async def editing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.editor.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def room_of(stores: Stores) -> Room:
    lives = LiveMessages(stores.database)
    await lives.record(GROUP)
    return Room(lives)


async def test_whoever_gets_the_account_back_shows_the_counts_that_it_showed_before(stores: Stores) -> None:
    room = await room_of(stores)
    first, second = Notifier(room, BEFORE), Notifier(room, MEANWHILE)
    async with first.editing(), second.editing():
        first.is_owner = True
        await room.shows("3 ok of 10")
        first.is_owner = False
        await until(lambda: first.editor._read_at == float("-inf"), within_seconds=20)
        second.is_owner = True
        await room.shows("3 ok, 1 failed of 10")
        second.is_owner = False
        first.is_owner = True
        await room.shows("3 ok of 10")


async def test_nobody_shows_what_waited_since_before_the_account_was_lost(stores: Stores) -> None:
    room = await room_of(stores)
    first, second = Notifier(room, BEFORE), Notifier(room, MEANWHILE)
    first.can_send = False
    async with first.editing(), second.editing():
        first.is_owner = True
        await until(lambda: bool(list(first.editor._edits.waiting())), within_seconds=20)
        first.is_owner = False
        await until(lambda: first.editor._read_at == float("-inf"), within_seconds=20)
        second.is_owner = True
        await room.shows("3 ok, 1 failed of 10")
        second.is_owner = False
        first.as_read = {State.DONE: 10}
        first.can_send = first.is_owner = True
        with first.editor.delivering("!room"):
            pass
        await room.shows("10 ok of 10")
    assert room.texts == ["3 ok, 1 failed of 10", "10 ok of 10"]


async def test_one_that_never_saw_that_it_had_lost_the_account_mends_what_another_showed(stores: Stores) -> None:
    room = await room_of(stores)
    first, second = Notifier(room, BEFORE, anew_seconds=10 * SOON), Notifier(room, MEANWHILE)
    first.is_owner = second.is_owner = True
    async with first.editing():
        await room.shows("3 ok of 10")
        async with second.editing():
            await until(lambda: "3 ok, 1 failed of 10" in room.texts, within_seconds=20)
            await room.shows("3 ok of 10")
