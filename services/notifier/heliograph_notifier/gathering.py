"""Gathering what decides about notices besides the jobs: for a batch of jobs at a time, a read for each kind."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from heliograph.notices.due import DueJob
from heliograph.notices.model import Wish
from heliograph.notices.mutes import Mute, MuteStore
from heliograph.notices.notify import ContactRequest, Notify
from heliograph.notices.preferences import PreferenceStore
from heliograph.notices.watches import WatchStore
from heliograph.storage import Database
from heliograph_notifier.contacts.absence import Absence
from heliograph_notifier.contacts.port import Contacts, ContactsUnavailableError
from heliograph_notifier.recipients import Defaults, Recipient, Sources, people, recipients

_log = structlog.get_logger()

PATIENCE = timedelta(minutes=10)  # for so long a job's notices wait for a directory that is away

_Answers = Mapping[ContactRequest, Sequence[Wish] | ContactsUnavailableError | None]


@dataclass(frozen=True, slots=True)
class Told:
    """Who may be told of a job, what of it is muted, and for which subjects nobody was found."""

    recipients: Sequence[Recipient]
    mutes: Sequence[Mute]
    absences: Sequence[Absence] = ()


class Gathering:
    """Reads preferences, watches, contacts and mutes; ``patience`` is for a contact directory that is away."""

    def __init__(
        self, database: Database, defaults: Mapping[str, Defaults], copies: Sequence[Wish], contacts: Contacts | None,
        *, patience: timedelta = PATIENCE,
    ) -> None:  # fmt: skip
        self._preferences = PreferenceStore(database)
        self._watches = WatchStore(database)
        self._mutes = MuteStore(database)
        self._defaults = defaults
        self._copies = copies
        self._contacts = contacts
        self._patience = patience

    async def gather(self, due: Sequence[DueJob], clock: datetime) -> dict[str, Told]:
        """Return for each job, by id, who may be told of it.

        A job that has to wait for the contact directory is left out. Once the directory has been away for as long as
        such a job may wait, and the job has waited for as long, those whom it names are missing from the others.
        """
        asked = {each.job.id: Notify.from_document(each.job.notify) for each in due}
        answers = await self._ask({request for notify in asked.values() for request in notify.contacts})
        jobs = [each.job for each in due if not self._has_to_wait(each, asked[each.job.id], answers, clock)]
        watches = await self._watches.over({job.queue for job in jobs}, {job.group for job in jobs if job.group})
        who = {person for job in jobs for person in people(job, asked[job.id], watches)}
        preferences = await self._preferences.several(who)
        found: dict[str, list[Recipient]] = {}
        for job in jobs:
            contacts = _named(asked[job.id], answers)
            sources = Sources(preferences, watches, contacts, self._copies, self._defaults)
            found[job.id] = recipients(job, asked[job.id], sources)
        everybody = [each for told in found.values() for each in told]
        mutes = await self._mutes.touching(
            (each.person for each in everybody if each.person), ((each.channel, each.recipient) for each in everybody)
        )
        return {job.id: Told(found[job.id], mutes, tuple(_absences(asked[job.id], answers))) for job in jobs}

    async def _ask(self, requests: Iterable[ContactRequest]) -> _Answers:
        """Return what the directory says to each request; None where there is no directory."""
        requests = list(requests)
        return dict(zip(requests, await asyncio.gather(*map(self._find, requests)), strict=True))

    async def _find(self, request: ContactRequest) -> Sequence[Wish] | ContactsUnavailableError | None:
        if self._contacts is None:
            return None
        try:
            return await self._contacts.find(request)
        except ContactsUnavailableError as error:
            return error

    def _has_to_wait(self, due: DueJob, notify: Notify, answers: _Answers, clock: datetime) -> bool:
        answered = (answers[request] for request in notify.contacts)
        away = [answer.lasting for answer in answered if isinstance(answer, ContactsUnavailableError)]
        if not away:
            return False
        waited = clock - min((event.data.at for event in due.events), default=clock)
        has_to_wait = min(*away, waited) < self._patience
        if not has_to_wait:
            _log.error("a job's contacts are not told: their directory is away", job=due.job.id)
        return has_to_wait


def _named(notify: Notify, answers: _Answers) -> list[Wish]:
    found: list[Wish] = []
    for answer in map(answers.get, notify.contacts):
        if answer is not None and not isinstance(answer, ContactsUnavailableError):
            found += answer
    return found


def _absences(notify: Notify, answers: _Answers) -> Iterable[Absence]:
    for request in notify.contacts:
        match answers[request]:
            case None:
                yield Absence.of_no_directory(request)
            case ContactsUnavailableError() as error:
                yield Absence.of_unavailable(request, str(error))
            case [] | ():
                yield Absence.of_nobody(request)
