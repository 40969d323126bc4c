"""The outer of a child's two processes: it runs nothing of a plugin, so nothing can keep it from cleaning up.

It starts the runner, then only waits. All that descends from the runner, however it detaches itself, ends up below the
warden (a "subreaper"). When the runner ends, or the worker closes its end of the control socket, be it by dying, the
warden kills whatever is left and ends as the runner did. Until then SIGTERM is passed on to the runner's group.

It imports little before it forks: both processes stay small, and no thread exists yet. Where jobs run under another
user's account, it stays who it is, so that they can neither kill nor stop it, and the runner alone becomes that user.
"""

import ctypes
import os
import resource
import select
import signal
import time
from contextlib import suppress
from typing import NoReturn

from heliograph_worker.process_tree import descendants

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_AGAIN_SECONDS = 0.002


def guard(control: int, memory_limit: int, account: str | None = None) -> None:
    """Fork the runner and watch over it. Returns in the runner alone, when the worker has closed the control socket.

    ``account`` describes the user that the runner becomes; see ``become``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(control, False)
    warden = os.getpid()
    runner = os.fork()
    if runner:
        _watch(runner, control)
    os.setsid()
    from heliograph_worker.child.runner import serve  # noqa: PLC0415 - the warden does without its memory

    if account is not None:
        from heliograph_worker.child.become import become  # noqa: PLC0415 - as above

        become(account)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # not before: a change of user takes it back
    if os.getppid() != warden:
        os._exit(1)  # it died before we asked to be told
    serve(control, memory_limit)


def _watch(runner: int, control: int) -> NoReturn:
    def pass_on(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(runner, signal.SIGTERM)

    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = select.poll()
    events.register(control, select.POLLRDHUP)  # not POLLIN: what is said there is for the runner
    events.register(wake, select.POLLIN)
    while True:
        status = _reap(runner)  # first, for it may have ended before the handler was there
        if status is not None:
            _kill_all()
            _end_like(status)
        for descriptor, _ in events.poll():
            if descriptor == control:
                _kill_all()
                os._exit(0)
            os.read(wake, 4096)


def _reap(runner: int) -> int | None:
    """Take note of all ended children; return the runner's wait status if it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == runner:
                found = ended[1]
    return found


def _kill_all() -> None:
    """Kill until nothing is left: what a process starts while we look is found at the next look."""
    while left := descendants(os.getpid()):
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _reap(0)
        time.sleep(_LOOK_AGAIN_SECONDS)


def _end_like(status: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):  # SIGKILL needs no default handler, and takes none
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
