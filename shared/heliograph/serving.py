"""Running a service from its start to a signal."""

import asyncio
import signal
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvloop


def serve(service: AbstractAsyncContextManager[Any]) -> None:
    """Start a service, wait for SIGTERM or SIGINT, and let it end cleanly; a second signal ends it at once."""
    uvloop.run(_serve(service))


async def _serve(service: AbstractAsyncContextManager[Any]) -> None:
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
        # Stopped while it waits for the database: nothing runs yet, nothing has to end.
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return
    starting.result()
    await stopped
    await service.__aexit__(None, None, None)
