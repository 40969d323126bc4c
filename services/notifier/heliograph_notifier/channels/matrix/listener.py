"""Listening: one sync after the other, and what each of them asks for."""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from nio import SyncError, SyncResponse

from heliograph.backoff import Backoff
from heliograph.channels import Refused, TryLater
from heliograph.storage import StoreUnavailableError
from heliograph_notifier.channels.matrix.answers import UNKNOWN_TOKEN, Answer, failure
from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.encryption import Encryption
from heliograph_notifier.channels.matrix.inbox import Inbox, heard
from heliograph_notifier.channels.matrix.invitations import Invitations
from heliograph_notifier.channels.matrix.keeper import KeysTooLargeError, TenureOverError
from heliograph_notifier.channels.matrix.messages import OnMessage

_log = structlog.get_logger()

POLL_MILLISECONDS = 20_000  # the server answers at once when there is something, else after this
FIRST_SECONDS = 120.0  # the first sync tells the state of every room
RETRY = Backoff(timedelta(milliseconds=500), timedelta(seconds=10))
_UNHEARD = {"not_types": ["*"]}
_FILTER = {
    "presence": _UNHEARD,
    "account_data": _UNHEARD,
    "room": {
        "account_data": _UNHEARD,
        "ephemeral": _UNHEARD,
        "state": {"types": ["m.room.create", "m.room.member", "m.room.encryption"]},
        "timeline": {"limit": 50},  # of each room and sync: so many commands are heard after an absence
    },
}


def pause(failures: int, error: Exception) -> float:
    """Return for how many seconds a homeserver is left alone: for longer where it asks for that."""
    asked = error.after_seconds if isinstance(error, TryLater) else None
    return max(RETRY.wait(failures).total_seconds(), asked or 0.0)


class LoggedOutError(Exception):
    """The homeserver does not know the session any more."""


class ListeningBrokenError(Exception):
    """Something that came from the homeserver cannot be taken in."""


class Listener:
    """Keeps one client in step with its homeserver; ``synced`` is called after each sync."""

    def __init__(
        self, client: Client, encryption: Encryption, *, allowed: Sequence[str], since: str | None,
        on_message: OnMessage | None, synced: Callable[[], None],
    ) -> None:  # fmt: skip
        self._client = client
        self._encryption = encryption
        self._invitations = Invitations(client, allowed)
        self._synced = synced
        self._since = since
        self.inbox = Inbox(on_message, since)

    async def run(self) -> None:
        """Listen until cancelled; an absent homeserver is waited for.

        Raises
        ------
        LoggedOutError, ListeningBrokenError, TenureOverError, KeysTooLargeError
            The client is of no use any more.
        """
        failures = 0
        while True:
            try:
                await self._step()
            except (LoggedOutError, TenureOverError, KeysTooLargeError):
                raise
            except StoreUnavailableError:  # the tenure ends where that takes too long
                await asyncio.sleep(RETRY.wait(1).total_seconds())
            except (TryLater, Refused, aiohttp.ClientError, TimeoutError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("the Matrix homeserver is away, waiting for it", why=str(error) or repr(error))
                await asyncio.sleep(pause(failures, error))
            except Exception as error:
                # What somebody sent, and nio stumbles over: half of the answer is taken in. Whoever comes next begins
                # behind it, with the state of all rooms told anew.
                self.inbox.since = self._client.next_batch or self.inbox.since
                _log.exception("what the Matrix homeserver sent cannot be taken in")
                raise ListeningBrokenError(str(error)) from error
            else:
                if failures:
                    _log.info("the Matrix homeserver is back")
                failures = 0

    async def _step(self) -> None:
        is_first_ever = not self._since  # then what was said is older than the account's time here
        response = await self._sync()
        self._since = response.next_batch
        for room in response.rooms.leave:
            self._client.rooms.pop(room, None)  # on coming back its state is told anew
        self._invitations.take_in(response)
        messages = [] if is_first_ever else heard(self._client, response)
        # A successor has to be told again of invitations that wait.
        await self.inbox.put(messages, response.next_batch if self._invitations.is_empty else None)
        await self._encryption.tend()
        self._synced()
        await self._invitations.answer()

    async def _sync(self) -> SyncResponse:
        """Ask for what is new.

        Synapse answers an identical question of the last two minutes from its memory, which after a restart shows a
        world that is past: the random part of the time makes each question a new one.
        """
        is_first = not self._client.next_batch
        milliseconds = POLL_MILLISECONDS + random.randrange(1, 5_000)  # noqa: S311 - guards nothing
        async with asyncio.timeout(FIRST_SECONDS if is_first else None):
            response: Any = await self._client.sync(
                timeout=milliseconds, sync_filter=_FILTER, since=self._since, full_state=is_first and bool(self._since)
            )
        if isinstance(response, SyncResponse):
            return response
        assert isinstance(response, SyncError)
        answer = Answer.of(response)
        if answer.code == UNKNOWN_TOKEN:
            raise LoggedOutError(answer.words)
        if answer.status == HTTPStatus.BAD_REQUEST and is_first and self._since:
            _log.warning("the Matrix homeserver does not know how far we had heard: beginning anew", reply=answer.words)
            self._since = None
        raise failure(answer, self._client.user)
