"""Addresses at which outside systems tell of one attempt of a job, and what they told there.

A message is taken while the attempt that the address was made for holds its job, until one tells of the end. Equal
messages may be meant: a sender that repeats one because it saw no answer gives it a ``message_id``, and a repeat under
that is answered as the first was, and kept once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from heliograph import signed_links as links
from heliograph.backends.context import Callback
from heliograph.callbacks.message import Message, Outcome
from heliograph.callbacks.store import Attempt, CallbackStore, Last, Received, lease_hash
from heliograph.errors import BodyTooLargeError, HeliographError, InvalidInputError, UnavailableError
from heliograph.jobs.model import Job
from heliograph.json_text import json_text
from heliograph.signed_links import LinkRefusedError
from heliograph.storage import Database, DuplicateError

PURPOSE = "callback"
MOST_BYTES = 64 * 1024  # of one message; a larger result is fetched from its `result_url`
MOST_MESSAGES = 10_000  # of one attempt: an hour of three a second
MOST_TOTAL_BYTES = 64 * 1024 * 1024
_TRIES = 100  # each loses to another message of the same attempt in the same milliseconds


class TooManyCallbacksError(HeliographError):
    """So much was told of this attempt that no more is kept; only the message of its end is still taken."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too-many-callbacks"


class Callbacks:
    """Makes the addresses, takes what is told there, and hands it on.

    Parameters
    ----------
    database
        Where the messages are kept.
    keys
        The link keys, at least one: the first signs, all verify.
    public_url
        Where outside systems reach the api.
    """

    def __init__(self, database: Database, keys: Sequence[str], public_url: str) -> None:
        self._store = CallbackStore(database)
        self._keys = tuple(keys)
        self._public_url = public_url.rstrip("/")

    def url_for(self, job: Job, lease_token: str, expires: datetime) -> str:
        """Return the address for the attempt that holds ``job`` under this lease, good until it ``expires``."""
        words = (job.id, str(job.series), lease_hash(lease_token))
        return f"{self._public_url}/v1/callbacks/{links.sign(self._keys, PURPOSE, words, expires)}"

    async def next(self, job: Job, lease_token: str, after: int) -> tuple[int, Callback] | None:  # noqa: ARG002 - as in url_for
        """Return what was told after the message of this number (0: the first), with its own; None: nothing yet."""
        return await self._store.next(lease_hash(lease_token), after)

    async def accept(self, token: str, body: Any, message_id: str | None = None) -> None:
        """Take what was told at the address with this token.

        Parameters
        ----------
        token
            The last part of the address's path.
        body
            What was told: a JSON object.
        message_id
            The id that the sender gave it; by default, the one in the body.

        Raises
        ------
        LinkRefusedError
            The address is not one of ours, has expired, is of an attempt that is over, or its last message has come.
        InvalidInputError
            The body says what cannot be, or another one came under its id.
        BodyTooLargeError
            It is too large.
        TooManyCallbacksError
            So much was told already that no more is kept.
        """
        (job, series, lease), expires = links.check(self._keys, PURPOSE, token, datetime.now(UTC))
        attempt = Attempt(job, int(series), lease)
        message = Message.of(body)
        received = Received(json_text(body), message.outcome, message_id or message.message_id)
        if received.bytes > MOST_BYTES:
            raise BodyTooLargeError(f"a callback takes at most {MOST_BYTES} bytes")
        if not await self._store.holds(attempt):
            raise LinkRefusedError("this link is of an attempt that is over")
        for _ in range(_TRIES):
            last = await self._store.last(attempt)  # first, so that what it is shows among the known
            if await self._is_known(attempt, received):
                return
            _judge(received, last)
            try:
                if await self._store.add(attempt, received, last, expires):
                    return
            except DuplicateError:
                continue  # the same message came twice at once; the next look finds it
        raise UnavailableError("too much is told of this job at the same time; try again")

    async def _is_known(self, attempt: Attempt, received: Received) -> bool:
        if received.message_id is None:
            return False
        digest = await self._store.known(attempt, received.message_id)
        if digest is not None and digest != received.digest:
            raise InvalidInputError.of("message_id", "another message came under this id")
        return digest is not None


def _judge(received: Received, last: Last) -> None:
    """Refuse a message for what came before it."""
    if last.is_final:
        raise LinkRefusedError("this link was used up: its last message, of the end, has come")
    if received.outcome is not Outcome.GOES_ON:
        return
    if last.n >= MOST_MESSAGES or last.total_bytes + received.bytes > MOST_TOTAL_BYTES:
        raise TooManyCallbacksError
