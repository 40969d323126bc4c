"""A child process as the worker sees it."""

import asyncio
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict

import structlog

from heliograph_worker.account import Account
from heliograph_worker.process_tree import children
from heliograph_worker.protocol import (
    HEADER,
    MAX_FRAME,
    FromChild,
    ProtocolError,
    Ready,
    Run,
    frame,
    parse_from_child,
)

_log = structlog.get_logger(__name__)

_READY_SECONDS = 60  # a start takes 0.3 s of CPU; a crowded machine may take long to give them
_DEAD_SECONDS = 10  # to wait for processes that were sent SIGKILL; only a hanging disk keeps one longer


class ChildStartError(Exception):
    """A child process could not be started."""


class ChildProcess:
    """One child: started once, asked for one job at a time, ended by closing its control socket.

    ``ran`` holds the backends that it has imported, ``owner`` whose jobs it runs; None while it has run none.
    """

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._received = bytearray()
        self._runner: int | None = None
        self._ended = asyncio.create_task(self._hang_up_at_end())
        self.ran: set[str] = set()
        self.owner: str | None = None
        self.jobs = 0

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], memory_limit: int, account: Account | None = None
    ) -> "ChildProcess":
        """Start a new interpreter and wait until it is ready, its jobs' process as another user where one is given.

        Raises
        ------
        ChildStartError
            The system has no room for it, or it ends at once.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # the current folder is no place to import from
                    "-m",
                    "heliograph_worker.child",
                    str(theirs.fileno()),
                    str(memory_limit),
                    *([json.dumps(asdict(account))] if account else []),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=2,
                    env=environment,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise ChildStartError(f"no process could be started: {error}") from error
            raise
        child = cls(process, ours)
        try:
            async with asyncio.timeout(_READY_SECONDS):
                first = await child.receive()
        except (TimeoutError, ProtocolError) as error:
            await child.kill()
            raise ChildStartError(f"a process did not become ready: {error!r}") from error
        except asyncio.CancelledError:
            await child.kill()
            raise
        if not isinstance(first, Ready):
            await child.kill()
            raise ChildStartError(f"a process ended while starting, {describe_end(await child.wait())}")
        child._runner = next(iter(children(child.pid)), None)
        return child

    @property
    def pid(self) -> int:
        """The process id of the outer process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended. Its socket knows at once, the event loop hears of it later."""
        hang_up = select.poll()
        hang_up.register(self._control, select.POLLRDHUP)
        return not hang_up.poll(0)

    async def send(self, run: Run, pipe: int) -> None:
        """Ask for a job; its output goes to ``pipe``, which the caller closes.

        Raises
        ------
        OSError
            The child has gone.
        """
        data = frame(run)
        sent = socket.send_fds(self._control, [data], [pipe])  # the socket is empty between jobs: takes a part at least
        await asyncio.get_running_loop().sock_sendall(self._control, data[sent:])

    async def answer(self, data: bytes) -> None:
        """Answer what the job asked, with one message."""
        with suppress(OSError):  # it has gone meanwhile, which `receive` tells
            await asyncio.get_running_loop().sock_sendall(self._control, data)

    async def receive(self) -> FromChild | None:
        """Wait for the next message; None where the child, and all that descends from it, has ended.

        Raises
        ------
        ProtocolError
            What came is no message.
        """
        loop = asyncio.get_running_loop()
        while (body := self._next_body()) is None:
            try:
                data = await loop.sock_recv(self._control, 65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._received += data
        return parse_from_child(body)

    def _next_body(self) -> bytes | None:
        if len(self._received) < HEADER.size:
            return None
        end = HEADER.size + HEADER.unpack_from(self._received)[0]
        if end > HEADER.size + MAX_FRAME:
            raise ProtocolError("the backend's process sent no message: its length is out of bounds")
        if len(self._received) < end:
            return None
        body = bytes(self._received[HEADER.size : end])
        del self._received[:end]
        return body

    def left_something(self) -> bool:
        """Say whether processes that a job started are still there."""
        inner = children(self.pid)
        return len(inner) != 1 or bool(children(inner.pop()))

    def terminate(self) -> None:
        """Ask the job, and the processes in its group, to stop."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def let_go(self) -> None:
        """Hang up: the child kills all that descends from it, and ends."""
        with suppress(OSError):  # it has gone already
            self._control.shutdown(socket.SHUT_RDWR)

    async def kill(self) -> None:
        """Hang up, and wait until nothing of it is left. Nobody may be receiving from it any more."""
        self.let_go()
        done, _ = await asyncio.wait({self._ended}, timeout=_DEAD_SECONDS)
        if not done:
            _log.error("child.lingers", pid=self.pid)
        self._control.close()

    async def _hang_up_at_end(self) -> None:
        """End ``receive`` with the process, even if a copy of the socket's other end lives on somewhere."""
        if await self._process.wait() == -signal.SIGKILL and self._runner is not None:
            with suppress(ProcessLookupError, PermissionError):  # all gone, unless it was the warden that was killed
                os.killpg(self._runner, signal.SIGKILL)
        self.let_go()

    async def wait(self) -> int:
        """Wait for its end; return its exit code, or a signal's number, negated."""
        return await self._process.wait()


def describe_end(code: int) -> str:
    """Say how a process ended, by its exit code or negated signal number."""
    if code >= 0:
        return f"by itself, with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unnamed"
    hint = "; the system does that when memory runs out" if -code == signal.SIGKILL else ""
    return f"by signal {-code} ({name}){hint}"
