"""The control socket in the child process, for any thread to tell and to ask on."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from heliograph.backends.errors import BackendError, FatalError, TransientError, UsageError
from heliograph.jobs.states import ErrorKind
from heliograph_worker.child.stopping import Stopping
from heliograph_worker.protocol import (
    HEADER,
    Answer,
    FromChild,
    Question,
    Run,
    Topic,
    frame,
    parse_answer,
    parse_run,
    receive_exactly,
)

_ERRORS: dict[ErrorKind, type[BackendError]] = {
    ErrorKind.USAGE: UsageError,
    ErrorKind.TRANSIENT: TransientError,
    ErrorKind.FATAL: FatalError,
}


class Channel:
    """What the child says to its worker, whole messages each, and the worker's answers."""

    def __init__(self, control: socket.socket, stopping: Stopping) -> None:
        self._control = control
        self._stopping = stopping
        self._lock = threading.Lock()

    def send(self, message: FromChild) -> None:
        """Send one message."""
        data = frame(message)
        with self._stopping, self._lock:
            self._control.sendall(data)

    def ask(self, topic: Topic, content: object) -> Any:
        """Ask the worker, and return its answer, a JSON value. What other threads tell meanwhile waits.

        Raises
        ------
        BackendError
            The worker says why not.
        """
        data = frame(Question(topic=topic, content=json.dumps(content)))
        with self._stopping, self._lock:
            self._control.sendall(data)
            answer = self._receive_answer()
        if answer.error is not None:
            raise _ERRORS.get(answer.kind, FatalError)(answer.error)
        return json.loads(answer.content)

    def receive_run(self) -> tuple[Run, int]:
        """Wait for the next job; return it with the write end of its log's pipe.

        Raises
        ------
        EOFError
            The worker has gone.
        """
        descriptors: list[int] = []

        def receive(size: int) -> bytes:
            part, found, _, _ = socket.recv_fds(self._control, size, 1, socket.MSG_CMSG_CLOEXEC)
            descriptors.extend(found)
            return part

        return parse_run(_body(receive)), descriptors[0]

    def _receive_answer(self) -> Answer:
        return parse_answer(_body(self._control.recv))


def _body(receive: Callable[[int], bytes]) -> bytes:
    return receive_exactly(receive, HEADER.unpack(receive_exactly(receive, HEADER.size))[0])
