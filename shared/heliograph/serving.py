"""Running a service from its start to a signal."""

import asyncio
import signal
import sys
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from typing import Self

import uvloop

from heliograph.background import exit_code


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


def serve(service: Service) -> None:
    """Start a service, wait for SIGTERM or SIGINT, and let it end cleanly; a second signal ends it at once."""
    uvloop.run(_serve(service))
    if exit_code():
        sys.exit(exit_code())


async def _serve(service: Service) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopping.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
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
