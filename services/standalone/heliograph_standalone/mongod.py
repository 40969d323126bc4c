"""A MongoDB of our own: a real ``mongod`` as a child process, on loopback, as a replica set of one.

Its folder holds ``data``, ``mongod.log`` (of this start), ``mongod.previous.log`` and ``owner.lock``. The lock is held
by the process that started mongod and is released by the kernel however that process ends; so whoever gets the lock
and still finds a mongod on the data knows that nobody needs it any more.
"""

import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self

from heliograph_standalone.mongod_binary import MongodError, MongodMissingPartError, explain_exit, find_mongod
from heliograph_standalone.replica_set import HOST, REPLICA_SET, is_primary

__all__ = ["Mongod", "MongodError", "MongodMissingPartError", "find_mongod"]

START_SECONDS = 60.0  # a start takes 0.2-0.8 s on two idle cores; the rest is for busy machines and long journals
STOP_SECONDS = 20.0  # a clean end takes 1 s
POLL_SECONDS = 0.02
PORT_TRIES = 10
# Below the range that the kernel gives to outgoing connections (32768-60999 on Linux): a client that keeps dialling a
# dead port inside that range is in the end connected to itself, and mongod cannot have its port back.
PORTS = range(20_000, 32_000)

ADDRESS_IN_USE = 48  # mongod's exit code

OPTIONS = (
    *("--bind_ip", HOST),
    *("--replSet", REPLICA_SET),
    *("--wiredTigerCacheSizeGB", "0.25"),  # the least that mongod takes; its default is half of the memory
    *("--oplogSize", "64"),  # MB; the default is a twentieth of the disk
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    "--nounixsocket",
)

# The new interpreter asks the kernel to kill it with its parent, then becomes mongod. SIGKILL, since a suspended mongod
# would not act on SIGTERM; what was acknowledged is in the journal. 1 is PR_SET_PDEATHSIG. The check of the parent
# comes after the call: it may have died before.
_BECOME_MONGOD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# PR_SET_PDEATHSIG watches the parent's *thread*. This one lives as long as the process, whoever calls ``start``.
_PARENT = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parent-of-mongod")


class Mongod:
    """A mongod whose data are in ``path``; ``with Mongod(path) as mongod`` starts and stops it.

    All methods block, ``start`` for about half a second and ``stop`` for about one; from a coroutine call them by
    ``asyncio.to_thread``. mongod has a process group of its own, so that Ctrl-C reaches the services first, and it is
    killed when this process ends in whatever way (Linux). Without ``port`` a free one is chosen at the first start;
    later starts keep it, so that clients find their way back.
    """

    def __init__(self, path: Path, *, port: int | None = None, binary: Path | None = None) -> None:
        self.path = path.absolute()
        self.log = self.path / "mongod.log"
        self._data = self.path / "data"
        self._port = port
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients find it; known after the first start."""
        if self._port is None:
            raise MongodError("MongoDB has no address before its first start.")
        return f"mongodb://{HOST}:{self._port}/?directConnection=true"

    @property
    def pid(self) -> int | None:
        """Its process, or none if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it and wait until it takes writes; raises ``MongodError`` with a sentence that says what is amiss."""
        if self.pid is not None:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self._data.mkdir(exist_ok=True)
        self._take_lock()
        try:
            self._end_orphan()
            self._launch()
        except BaseException:
            self.kill()
            self._release_lock()
            raise

    def stop(self) -> None:
        """End it cleanly; does nothing if it does not run."""
        if self.pid is not None:
            self.resume()  # a suspended process does not act on SIGTERM
            self._signal(signal.SIGTERM)
            self._wait_or_kill()
        self._process = None
        self._release_lock()

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same data and the same port."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it as a power cut would, and wait for its end."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def suspend(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)  # does nothing to a process whose end is known

    def _wait_or_kill(self) -> None:
        assert self._process is not None
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = (self.path / "owner.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise MongodError(f"Another running Heliograph uses the folder {self.path}; stop it first.") from None
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end_orphan(self) -> None:
        """Kill a mongod on our data whose owner is gone (on Linux it dies with its owner; elsewhere it may not)."""
        pid = self._orphan()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)  # journaled, as in _BECOME_MONGOD
        deadline = time.monotonic() + STOP_SECONDS
        while self._orphan() == pid:
            if time.monotonic() > deadline:
                raise MongodError(f"An earlier mongod (process {pid}) still uses {self.path} and cannot be stopped.")
            time.sleep(POLL_SECONDS)

    def _orphan(self) -> int | None:
        try:
            pid = int((self._data / "mongod.lock").read_text())
        except (OSError, ValueError):
            return None  # no lock, or the empty one of a clean end
        # The number alone may long be another program's. Where there is no /proc, mongod itself refuses to share.
        try:
            command = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
        except OSError:
            return None
        return pid if os.fsencode(self._data) in command else None

    def _launch(self) -> None:
        """Start the process and wait until it takes writes."""
        binary = self._binary or find_mongod()
        if self.log.exists():
            self.log.replace(self.path / "mongod.previous.log")
        for _ in range(PORT_TRIES):
            port = self._port or _free_port()
            process = self._process = _PARENT.submit(self._spawn, binary, port).result()
            if _takes_writes(process, port, self.log):
                self._port = port
                return
            if process.returncode != ADDRESS_IN_USE:
                raise explain_exit(process.returncode, self.log)
            if self._port is not None:
                raise MongodError(f"MongoDB cannot start: port {port} is in use by another program.")
        raise MongodError(f"MongoDB found no free port in {PORT_TRIES} tries between {PORTS.start} and {PORTS.stop}.")

    def _spawn(self, binary: Path, port: int) -> subprocess.Popen[bytes]:
        wrapper = (sys.executable, "-I", "-S", "-c", _BECOME_MONGOD, str(os.getpid()))
        mongod = (str(binary), "--dbpath", str(self._data), "--port", str(port), *OPTIONS)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own words; no shell
                [*wrapper, *mongod], stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )


def _takes_writes(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    """Wait until it does; false if the process ended instead."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        # Knocked at first: the driver would look again only after half a second.
        if _answers(port) and is_primary(port, process.pid):
            return True
        if time.monotonic() > deadline:
            raise MongodError(f"MongoDB took no writes in {START_SECONDS:.0f} s; see {log}.")
        time.sleep(POLL_SECONDS)
    return False


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as mongod does
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise MongodError(f"MongoDB found no free port between {PORTS.start} and {PORTS.stop}.")
