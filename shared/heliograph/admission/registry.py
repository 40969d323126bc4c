"""The announced backends and the declared queues, kept at hand, each with a compiled check of its parameters."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice

import structlog

from heliograph.admission.entry import Entry
from heliograph.announcements import Announced, Announcements
from heliograph.errors import NotFoundError
from heliograph.queues.model import Queue
from heliograph.queues.store import QueueStore
from heliograph.storage import StoreUnavailableError

_log = structlog.get_logger()

REFRESH_SECONDS = 2.0
COMPARED = 200  # names; each comparison takes some 10 us


class Registry:
    """Knows the announced backends and the declared queues, at most two seconds late."""

    def __init__(self, announcements: Announcements, queues: QueueStore) -> None:
        self._announcements = announcements
        self._declared = queues
        self._announced: dict[str, Announced] = {}
        self._backends: dict[str, Entry] = {}
        self._queues: dict[str, tuple[Queue, Entry]] = {}

    async def find(self, name: str) -> Entry:
        """Return a backend; one that is not known yet is looked for once more.

        Raises
        ------
        NotFoundError
            No worker ever announced it.
        """
        await self.announced(name)
        return self._backends[name]

    async def announced(self, name: str) -> Announced:
        """Return what is announced of a backend; as ``find``."""
        if name not in self._announced:
            await self.refresh()
        try:
            return self._announced[name]
        except KeyError as error:
            raise NotFoundError(f"there is no backend {name}") from error

    async def queue(self, name: str) -> tuple[Queue, Entry]:
        """Return a queue; one that is not known yet is looked for once more.

        Raises
        ------
        NotFoundError
            It is not declared, or workers serve its name by now.
        """
        if name not in self._queues:
            await self.refresh()
        if name not in self._queues or self.is_backend(name):
            raise NotFoundError(f"there is no queue {name}")
        return self._queues[name]

    def is_backend(self, name: str) -> bool:
        """Say whether a backend of this name is announced, as far as is known now."""
        return name in self._announced

    def hint(self, name: str, *, is_queue: bool) -> str:
        """Return what somebody may have meant who asked for a queue, or else a backend, that is not there.

        It goes on from a sentence that says so, and is empty where nothing comes near.
        """
        wanted, others = (self._queues, self._backends) if is_queue else (self._backends, self._queues)
        if name in others:
            kinds = ("backend", "backend") if is_queue else ("pull queue", "queue")
            return f"; {name} is a {kinds[0]}: submit with `{kinds[1]}`"
        near = get_close_matches(name, islice(wanted, COMPARED), n=1)
        return f"; did you mean {near[0]}?" if near else ""

    async def refresh(self) -> list[Announced]:
        """Read what is announced and declared now; return the backends."""
        announced, declared = await asyncio.gather(self._announcements.all(), self._declared.all())
        backends = {backend.name: _backend(backend, self._backends) for backend in announced}
        self._queues = {queue.name: (queue, _queue(queue, self._queues)) for queue in declared}
        self._announced, self._backends = {backend.name: backend for backend in announced}, backends
        return announced

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            try:
                await self.refresh()
            except StoreUnavailableError:
                _log.debug("registry waits for the database")
            await asyncio.sleep(REFRESH_SECONDS)


def _backend(announced: Announced, before: Mapping[str, Entry]) -> Entry:
    known = before.get(announced.name)
    if known and known.revision == announced.revision:
        return replace(known, roles=announced.roles)
    return Entry.of(
        "backend", announced.name, announced.parameters_schema, roles=announced.roles, revision=announced.revision
    )


def _queue(queue: Queue, before: Mapping[str, tuple[Queue, Entry]]) -> Entry:
    known = before.get(queue.name)
    if known and known[1].revision == queue.revision:
        return replace(known[1], roles=queue.roles)
    return Entry.of("queue", queue.name, queue.parameters_schema, roles=queue.roles, revision=queue.revision)
