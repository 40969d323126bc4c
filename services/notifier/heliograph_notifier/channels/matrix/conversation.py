"""The conversation: hears what people say to the account, has it done, and answers."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import structlog

from heliograph.channels import Refused, TryLater
from heliograph.notices.linked import LinkedUsers
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.acting import Acting, Speaker, helping, linking
from heliograph_notifier.channels.matrix.commands import Command, Help, Link, Unclear, parse
from heliograph_notifier.channels.matrix.content import NOTICE, Text, answer, message, transaction
from heliograph_notifier.channels.matrix.messages import Message

if TYPE_CHECKING:
    from heliograph_notifier.channels.matrix.account import Account  # its import brings the Matrix library along

_log = structlog.get_logger()

_MOST_WAITING = 5  # of a room: who says more at once has to say it again
_TRIES = 4
_PAUSE_SECONDS = 2.0


class Conversation:
    """Answers commands, in each room ``apart_seconds`` from each other.

    One that comes again, or is tried again, is done once and answered once.
    """

    def __init__(self, account: "Account", linked: LinkedUsers, acting: Acting, apart_seconds: float) -> None:
        self._apart_seconds = apart_seconds
        self._account = account
        self._linked = linked
        self._acting = acting
        self._waiting: dict[str, deque[tuple[Message, Command]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def hear(self, said: Message) -> None:
        """Have a message answered before the next one is heard; what is not meant for the account is passed over.

        What a room says right after that waits for its turn beside the others', as does what cannot be answered at
        once, so that one room does not keep others waiting. Both are forgotten if the process ends first.
        """
        command = parse(said.body, is_direct=said.is_direct)
        if command is None:
            return
        waiting = self._waiting.get(said.room)
        if waiting is None:
            waiting = self._waiting[said.room] = deque()
            try:
                wait = await self._try(said, command)
            except asyncio.CancelledError:
                del self._waiting[said.room]
                raise
            if wait is not None:
                waiting.appendleft((said, command))
            self._serve_after(said.room, self._apart_seconds if wait is None else wait)
        elif len(waiting) < _MOST_WAITING:
            waiting.append((said, command))

    async def run(self) -> None:
        """Let what is heard be answered until cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _serve_after(self, room: str, seconds: float) -> None:
        task = asyncio.create_task(self._serve(room, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, room: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            while self._waiting[room]:
                await self._insist(*self._waiting[room].popleft())
                await asyncio.sleep(self._apart_seconds)
        finally:
            del self._waiting[room]

    async def _insist(self, said: Message, command: Command) -> None:
        for _ in range(_TRIES):
            wait = await self._try(said, command)
            if wait is None:
                return
            await asyncio.sleep(wait)

    async def _try(self, said: Message, command: Command) -> float | None:
        """Answer once; return after how many seconds to try again, None where that would be of no use."""
        try:
            await self._answer(said, command)
        except TryLater as later:
            return later.after_seconds or _PAUSE_SECONDS
        except StoreUnavailableError:
            return _PAUSE_SECONDS
        except Refused as refused:
            _log.info("a command cannot be answered", room=said.room, reply=refused.reply)
        except Exception:  # noqa: BLE001 - a command that cannot be done must not keep those after it
            _log.exception("a command failed", command=type(command).__name__)
        return None

    async def _answer(self, said: Message, command: Command) -> None:
        text = await self._reply(said, command)
        content = answer(message(text, NOTICE), said.event_id, said.thread_root)
        await self._account.send(said.room, content, transaction("answer", said.event_id))

    async def _reply(self, said: Message, command: Command) -> Text:
        if isinstance(command, Link):
            return await self._link(said, command.code)
        person = await self._linked.person_of(said.sender)
        if person is None:
            return linking(said.sender)
        await self._linked.prove_room(person, said.room)
        match command:
            case Help():
                return helping()
            case Unclear(why):
                return Text.blocks([Text.lines([Text.of(why)]), helping()])
            case _:
                is_private = await self._account.is_private(said.room)
                return await self._acting.act(command, Speaker(person, said.room, said.event_id, is_private))

    async def _link(self, said: Message, code: str) -> Text:
        person = await self._linked.redeem(said.sender, code)
        if person is None:
            # Heard a second time, its code is used up.
            person = await self._linked.person_of(said.sender)
            known = f" You are linked to {person}." if person else ""
            return Text.lines([Text.of(f"This code is not open (any more).{known}")])
        await self._linked.prove_room(person, said.room)
        return Text.lines(
            [Text.of(f"You are linked to {person}. Say here to be told in this room; help says the rest.")]
        )
