"""Running a service from its start to a signal."""

import asyncio
import gc
import os
import signal
import sys
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Self

import structlog
import uvloop

from heliograph.background import exit_code

_log = structlog.get_logger()

ENDED_AT_ONCE = 130  # as a shell reports a program that Ctrl-C has ended


class Service(ABC):
    """A service: an asynchronous context manager that starts and stops it.

    ``_start`` puts all that has to end again on ``_stack``, in order; a start that fails half-way undoes its half.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @abstractmethod
    async def _start(self) -> None:
        """Start the service's parts."""


def spare_the_collector() -> None:
    """Let Python look for garbage in cycles less often: what a service makes for a request or a job is in none.

    By default it looks at all that is young for each 700 objects, and at all there is ever so often. Measured, where a
    process is busy with short jobs or submissions: 4 to 10 % of its CPU.
    """
    gc.freeze()  # what was imported stays
    gc.set_threshold(50_000, 20, 20)


def serve(service: Service) -> None:
    """Start a service, wait for SIGTERM or SIGINT, and let it end cleanly; a second signal ends it at once."""
    spare_the_collector()
    uvloop.run(_serve(service))
    if exit_code():
        sys.exit(exit_code())


async def _serve(service: Service) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set():
            _log.warning("ended at once: what runs is run again")
            os._exit(ENDED_AT_ONCE)
        _log.info("stopping: what runs gets a while to end; a second signal ends it at once")
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    starting = asyncio.ensure_future(service.__aenter__())
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        # Stopped while it waits for the database: a start undoes its half.
        starting.cancel()
        await asyncio.wait({starting})
        if starting.cancelled():
            return
    # A start may also come to its end although it was cancelled just before; what then runs has to be stopped.
    starting.result()
    await stopped
    await service.__aexit__(None, None, None)
