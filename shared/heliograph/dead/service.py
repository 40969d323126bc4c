"""What was given up and what is stuck: listed for those who see everything, and replayed on their word."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from heliograph.bus.port import Bus
from heliograph.dead import words
from heliograph.dead.model import DeadItem, DeadKind, DeadLetter, LetterState
from heliograph.dead.standstill import Standstill
from heliograph.dead.store import LetterStore
from heliograph.errors import ConflictError, InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.jobs.relay import Relay
from heliograph.jobs.service import JobService
from heliograph.jobs.store.census import Waiting
from heliograph.jobs.store.given_up import MOST_COUNTED, GivenUpStore, is_given_up
from heliograph.jobs.store.stuck import Cause, Place, StuckStore
from heliograph.notices.due import DueStore
from heliograph.storage import Database

# How long something must have been so before it counts as stuck.
PATIENCE = {
    Cause.UNCLAIMED: timedelta(minutes=15),
    Cause.HELD: timedelta(hours=24),
    Cause.OUTBOX: timedelta(minutes=5),
    Cause.NOTICES: timedelta(minutes=5),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, and the cursor of the next where there is one."""

    items: tuple[DeadItem, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many there are: of jobs given up and of dead events 10,000 at most, of stuck jobs so many for each cause."""

    jobs: int
    events: int
    stuck: int


class Dead:
    """Lists and replays.

    Parameters
    ----------
    database
        Where all of it lies.
    jobs
        Reopens.
    relay, bus
        Tell again.
    """

    def __init__(self, database: Database, jobs: JobService, relay: Relay, bus: Bus) -> None:
        self._database = database
        self._jobs = jobs
        self._relay = relay
        self._bus = bus
        self._letters = LetterStore(database)
        self._given_up = GivenUpStore(database)
        self._stuck = StuckStore(database)
        self._due = DueStore(database)
        self._standstill = Standstill(database)

    async def page(
        self, kind: DeadKind | None, *, state: LetterState = LetterState.OPEN, limit: int, cursor: str | None = None
    ) -> Page:
        """Return a page: of a kind, the newest first; of all kinds, one kind after the other.

        Raises
        ------
        InvalidInputError
            The cursor is none of this list's, or the state is one that only events have.
        """
        if state is LetterState.REPLAYED:
            if kind not in {None, DeadKind.EVENT}:
                raise InvalidInputError.of("state", "only events are kept once they were replayed")
            kind = DeadKind.EVENT
        kinds = [kind] if kind else list(DeadKind)
        beyond = _place(cursor, kinds) if cursor is not None else None
        if beyond is not None:
            kinds = kinds[kinds.index(beyond[0]) :]
        found: list[tuple[DeadItem, str]] = []
        for each in kinds:
            after = beyond if beyond is not None and beyond[0] is each else None
            found += await self._items(each, state, limit + 1 - len(found), after)
            if len(found) > limit:
                return Page(tuple(item for item, _ in found[:limit]), found[limit - 1][1])
        return Page(tuple(item for item, _ in found), None)

    async def replay(self, identifier: str, caller: Identity) -> DeadKind:
        """Try again what was given up; return what it was.

        Raises
        ------
        NotFoundError
            There is no such job and no such event.
        ConflictError
            It was not given up, or nothing but mending its cause helps.
        BusUnavailableError
            The event cannot be told now; it is still in the list.
        """
        if letter := await self._letters.find(identifier):
            await self._replay_letter(letter, caller)
            return DeadKind.EVENT
        job = await self._jobs.get(identifier, caller)
        if is_given_up(job):
            await self._jobs.reopen(identifier, caller)
            return DeadKind.JOB
        reasons = await self._standstill.reasons()
        causes = await self._stuck.causes_of(identifier, await self._since_before(), list(reasons))
        if causes & words.NUDGED:
            await self._nudge(identifier)
            return DeadKind.STUCK
        if Cause.UNCLAIMED in causes:
            raise ConflictError(f"a replay does not help: {reasons[job.queue]}")
        if Cause.HELD in causes:
            raise ConflictError("somebody holds the job; release or cancel it")
        raise ConflictError(f"the job is {job.state} and was not given up")

    async def tally(self, waiting: Mapping[str, Waiting], held: Mapping[str, int]) -> Tally:
        """Count; what waits in each queue and how much of it is held has been counted already."""
        since_before = await self._since_before()
        late = [queue for queue, found in waiting.items() if found.since < since_before[Cause.UNCLAIMED]]
        standing_still = list(await self._standstill.reasons_of(late, held))
        return Tally(
            await self._given_up.count(),
            await self._letters.count(MOST_COUNTED),
            await self._stuck.count(since_before, standing_still),
        )

    async def _items(
        self, kind: DeadKind, state: LetterState, limit: int, beyond: "_Beyond | None"
    ) -> list[tuple[DeadItem, str]]:
        """Return items, each with the cursor of what follows it."""
        at = (beyond[1], beyond[2]) if beyond else None
        if kind is DeadKind.JOB:
            return [_with_cursor(words.of_job(job)) for job in await self._given_up.page(limit, at)]
        if kind is DeadKind.EVENT:
            return [_with_cursor(words.of_letter(letter)) for letter in await self._letters.page(state, limit, at)]
        reasons = await self._standstill.reasons()
        place = Place(beyond[1], beyond[2], Cause(beyond[3])) if beyond else None
        found = await self._stuck.page(await self._since_before(), list(reasons), limit, place)
        return [_with_cursor(words.of_stuck(stuck, reasons), stuck.place.cause) for stuck in found]

    async def _since_before(self) -> dict[Cause, datetime]:
        now = await self._database.now()
        return {cause: now - patience for cause, patience in PATIENCE.items()}

    async def _replay_letter(self, letter: DeadLetter, caller: Identity) -> None:
        if letter.state is LetterState.REPLAYED:
            raise ConflictError("the event was replayed already; should it die again, it is in the list again")
        await self._bus.publish(letter.event)
        await self._letters.replayed(letter, caller.subject)

    async def _nudge(self, job: str) -> None:
        """Tell a job's events again: what lies in its outbox, and what no notifier has planned."""
        self._relay.nudge(job)
        for due in await self._due.read([job]):
            for event in due.events:
                await self._bus.publish(event)


_Beyond = tuple[DeadKind, datetime, str, str]


def _with_cursor(item: DeadItem, cause: str = "") -> tuple[DeadItem, str]:
    place = [item.kind.value, item.since.isoformat(), item.id, cause]
    return item, base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def _place(cursor: str, kinds: list[DeadKind]) -> _Beyond:
    """Return the item that a cursor names: its kind, since when, its id and, of a stuck job, why."""
    try:
        place: Any = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        kind, since, identifier, cause = place
        if not isinstance(identifier, str):
            raise TypeError("an id is a text")
        if (DeadKind(kind) is DeadKind.STUCK) != (cause in set(Cause)) or DeadKind(kind) not in kinds:
            raise ValueError("this is a place in another list")
        return DeadKind(kind), datetime.fromisoformat(since).astimezone(UTC), identifier, cause
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # ValueError is base64's and JSON's as well
        raise InvalidInputError.of("cursor", "this is not a cursor of this list") from error
