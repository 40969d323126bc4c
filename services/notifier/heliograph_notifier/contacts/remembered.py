"""Remembering what a directory said, so that neither its pace nor its absence is the planner's.

Whoever asks waits a moment only. A lookup that takes longer goes on by itself, and its answer is there for the next
who asks. While the directory is away, what it said before is taken for true, up to an age; whoever needs more is told
at once that it is away, and it is asked again now and then.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest
from heliograph_notifier.contacts.port import Contact, ContactsUnavailableError, Source, in_roles

_log = structlog.get_logger()

PATIENCE_SECONDS = 1.0  # meanwhile nobody else's notices are planned
REST_SECONDS = 5.0  # after a failure it is not asked for so long
LEAST_SECONDS = 15.0  # an answer that came late is still there when the planner asks again
STALE_TIMES = 12  # with five minutes of memory: what is said holds for an hour of absence
MOST_SUBJECTS = 5_000
MOST_LOOKUPS = 200  # under way or waiting for their turn


@dataclass(frozen=True, slots=True)
class _Answer:
    contacts: Sequence[Contact]
    at: float


class RememberedContacts:
    """Answers for a source, and remembers for ``seconds``, at least 15.

    ``abreast`` says how many questions the source answers at a time; ``clock`` counts seconds.
    """

    def __init__(
        self, source: Source, *, seconds: float, abreast: int = 1, patience: float = PATIENCE_SECONDS,
        rest: float = REST_SECONDS, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._source = source
        self._fresh = max(seconds, LEAST_SECONDS)
        self._patience = patience
        self._rest = rest
        self._clock = clock
        self._places = asyncio.Semaphore(abreast)
        self._answers: dict[str, _Answer] = {}  # the oldest first
        self._lookups: dict[str, asyncio.Task[None]] = {}
        self._is_slow = False
        self._trouble: str | None = None
        self._away_since = 0.0
        self._failed_at = 0.0

    async def find(self, request: ContactRequest) -> Sequence[Wish]:
        """Return whom it names, or named when it was last there."""
        return in_roles(await self._named(request.subject.strip()), request.roles)

    async def close(self) -> None:
        """End what is being looked up, and close the source."""
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        if lookups:
            await asyncio.wait(lookups)
        await self._source.close()

    async def _named(self, subject: str) -> Sequence[Contact]:
        answer = self._answers.get(subject)
        if answer is None or self._age(answer) >= self._fresh:
            await self._look_up(subject)
            answer = self._answers.get(subject)
        if answer is None or self._age(answer) >= self._fresh * STALE_TIMES:
            raise self._unavailable()
        return answer.contacts

    async def _look_up(self, subject: str) -> None:
        """Ask, and wait a moment for the answer; not at all while answers take longer than that anyway."""
        lookup = self._lookups.get(subject)
        if lookup is None:
            if self._is_resting() or len(self._lookups) >= MOST_LOOKUPS:
                return
            lookup = asyncio.create_task(self._ask(subject), name="contacts-lookup")
            self._lookups[subject] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(subject, None))
        if not self._is_slow:
            await asyncio.wait({lookup}, timeout=self._patience)
            self._is_slow = not lookup.done()

    async def _ask(self, subject: str) -> None:
        async with self._places:
            if self._is_resting():
                return  # it went away while this one waited for its turn
            begin = self._clock()
            try:
                contacts = await self._source.named(subject)
            except ContactsUnavailableError as error:
                self._went_away(str(error))
                return
            except Exception as error:  # noqa: BLE001 - logged; whoever asked must not wait for an answer for ever
                _log.exception("the contact directory failed")
                self._went_away(f"the contact directory failed ({type(error).__name__})")
                return
        self._is_slow = self._clock() - begin > self._patience
        self._is_back()
        self._answers.pop(subject, None)
        self._answers[subject] = _Answer(contacts, self._clock())
        while len(self._answers) > MOST_SUBJECTS:
            del self._answers[next(iter(self._answers))]

    def _went_away(self, why: str) -> None:
        self._failed_at = self._clock()
        if self._trouble is None:
            self._away_since = self._failed_at
            _log.warning("the contact directory is away; notices that need it wait", why=why)
        self._trouble = why

    def _is_back(self) -> None:
        if self._trouble is not None:
            _log.info("the contact directory is back", seconds=round(self._clock() - self._away_since, 1))
        self._trouble = None

    def _is_resting(self) -> bool:
        return self._trouble is not None and self._clock() - self._failed_at < self._rest

    def _unavailable(self) -> ContactsUnavailableError:
        if self._trouble is None:
            return ContactsUnavailableError("the contact directory has not answered yet")
        return ContactsUnavailableError(self._trouble, timedelta(seconds=self._clock() - self._away_since))

    def _age(self, answer: _Answer) -> float:
        return self._clock() - answer.at
