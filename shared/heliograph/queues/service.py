"""Pull queues on behalf of those who manage them: declared, paused, removed, looked at."""

from heliograph.admission.entry import compiled
from heliograph.admission.registry import Registry
from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.identity.queue_tokens import QueueTokens
from heliograph.identity.roles import Action
from heliograph.jobs.states import HELD
from heliograph.jobs.store.counts import Count, Counts
from heliograph.queues.model import Declaration, Queue
from heliograph.queues.names import name_fault
from heliograph.queues.store import QueueStore


class QueueService:
    """Manages queues and their tokens, as far as the caller may."""

    def __init__(self, store: QueueStore, counts: Counts, tokens: QueueTokens, registry: Registry) -> None:
        self._store = store
        self._counts = counts
        self._tokens = tokens
        self._registry = registry

    async def declare(self, name: str, declaration: Declaration, caller: Identity) -> tuple[Queue, bool]:
        """State a queue's rules in place of those that it had; return it, and whether it is new.

        Raises
        ------
        InvalidInputError
            Its name cannot be used, or its schema is none that can be judged by without a look elsewhere.
        """
        caller.require(Action.MANAGE_QUEUES)
        if fault := name_fault(name):
            raise InvalidInputError.of("name", fault)
        if declaration.parameters_schema is not None:
            try:
                compiled(declaration.parameters_schema)
            except ValueError as error:
                raise InvalidInputError.of("parameters_schema", f"this cannot be used: {error}") from error
        await self._registry.refresh()
        if self._registry.is_backend(name):
            raise InvalidInputError.of("name", "a backend has this name, and its jobs wait in a queue of that name")
        declared = await self._store.declare(name, declaration, caller.subject)
        await self._registry.refresh()
        return declared

    async def get(self, name: str, caller: Identity) -> tuple[Queue, Count]:
        """Return a queue and what is in it; ``NotFoundError`` where a caller's token is for another one."""
        if name != (caller.queue or name):
            raise NotFoundError(f"there is no queue {name}")
        queue = await self._store.get(name)
        return queue, (await self._counts.of([name]))[name]

    async def all(self, caller: Identity) -> list[tuple[Queue, Count]]:
        """Return every queue and what is in it, by name; of a queue's own token, that one."""
        queues = [queue for queue in await self._store.all() if queue.name == (caller.queue or queue.name)]
        counts = await self._counts.of([queue.name for queue in queues])
        return [(queue, counts[queue.name]) for queue in queues]

    async def set_paused(self, name: str, caller: Identity, *, paused: bool) -> tuple[Queue, Count]:
        """Let nothing be claimed from a queue, or let it be again. What is held goes on."""
        caller.require(Action.PAUSE)
        await self._store.set_paused(name, paused=paused)
        return await self.get(name, caller)

    async def remove(self, name: str, caller: Identity) -> None:
        """Forget a queue and revoke its tokens; its jobs, all over, stay.

        Raises
        ------
        ConflictError
            Jobs wait or are held in it.
        """
        caller.require(Action.MANAGE_QUEUES)
        await self._store.get(name)
        count = (await self._counts.of([name]))[name]
        if count.total:
            held = sum(count.states.get(state, 0) for state in HELD)
            gone = f"; {held} are held: what an agent that is gone holds, `heliograph queue release ID` takes back"
            raise ConflictError(
                f"{count.total} of its jobs are not over; let them end, or cancel them{gone if held else ''}"
            )
        await self._tokens.revoke_all(name)
        await self._store.remove(name)
        await self._registry.refresh()
