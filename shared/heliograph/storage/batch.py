"""Group commit: writes that arrive while one batch is in flight travel together in the next.

An idle caller waits for nothing; a busy service pays one round trip and one journal flush for many writes.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from heliograph.storage.errors import StoreUnavailableError

MOST_OPERATIONS = 500
MOST_BYTES = 8 * 1024 * 1024  # half of what one message to the server may hold

Operation = TypeVar("Operation")
Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class _Waiting(Generic[Operation, Outcome]):
    key: str
    operation: Operation
    size: int
    outcome: asyncio.Future[Outcome]


class Batcher(Generic[Operation, Outcome]):
    """Gathers operations into batches, one in flight at a time.

    ``write`` gets a batch and returns, in order, an outcome or an exception for each operation; it must bear being
    repeated. Where it raises, the batch is halved until what is at fault stands alone, except that a
    ``StoreUnavailableError`` belongs to all. No batch holds two operations with the same key. After one of several
    operations the next follows no sooner than ``pace_seconds`` later, and so holds more.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Operation]], Awaitable[Sequence[Outcome | Exception]]],
        *,
        pace_seconds: float = 0,
    ) -> None:
        self._write = write
        self._pace_seconds = pace_seconds
        self._waiting: deque[_Waiting[Operation, Outcome]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._began = 0.0
        self._is_busy = False

    async def submit(self, key: str, operation: Operation, size: int) -> Outcome:
        """Write ``operation`` (encoded already, ``size`` bytes) with whatever else waits; return its own outcome."""
        waiting = _Waiting(key, operation, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="batcher")
        outcome: Outcome = await waiting.outcome
        return outcome

    async def _run(self) -> None:
        while self._waiting:
            if self._is_busy:
                await asyncio.sleep(self._began + self._pace_seconds - time.monotonic())
            batch = self._take()
            self._began, self._is_busy = time.monotonic(), len(batch) > 1
            for waiting, outcome in zip(batch, await self._outcomes(batch), strict=True):
                if waiting.outcome.done():
                    continue  # its caller went away; the write itself stands
                if isinstance(outcome, Exception):
                    waiting.outcome.set_exception(outcome)
                else:
                    waiting.outcome.set_result(outcome)

    async def _outcomes(self, batch: Sequence[_Waiting[Operation, Outcome]]) -> Sequence[Outcome | Exception]:
        try:
            return await self._write([waiting.operation for waiting in batch])
        except StoreUnavailableError as error:
            return [error] * len(batch)
        except Exception as error:  # noqa: BLE001 - handed to the caller whose operation it is, who raises it
            if len(batch) == 1:
                return [error]
        half = len(batch) // 2
        return [*await self._outcomes(batch[:half]), *await self._outcomes(batch[half:])]

    def _take(self) -> list[_Waiting[Operation, Outcome]]:
        batch: list[_Waiting[Operation, Outcome]] = []
        later: list[_Waiting[Operation, Outcome]] = []
        keys: set[str] = set()
        size = 0
        while self._waiting and len(batch) < MOST_OPERATIONS:
            waiting = self._waiting[0]
            if batch and size + waiting.size > MOST_BYTES:
                break
            self._waiting.popleft()
            if waiting.key in keys:
                later.append(waiting)
                continue
            keys.add(waiting.key)
            batch.append(waiting)
            size += waiting.size
        self._waiting.extendleft(reversed(later))
        return batch
