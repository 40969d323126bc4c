"""A private MariaDB for tests: its own folder and port; nothing outlives its owner."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tests.parts.freezing import freeze
from tests.parts.ports import free_port

# Debian's packages, and those of the project itself.
_BINARIES = ("/usr/sbin/mariadbd", "/usr/libexec/mariadbd", "/usr/local/bin/mariadbd")
_TABLES = Path("/usr/share/mysql")
_OPTIONS = (
    "--no-defaults", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--performance-schema=OFF",
    "--skip-log-bin", "--skip-name-resolve", *(("--user=root",) if os.geteuid() == 0 else ()),
)  # fmt: skip
_START_SECONDS = 30.0  # 0.3 s on a quiet machine
_STOP_SECONDS = 10.0
_Process: TypeAlias = "subprocess.Popen[bytes]"
# Linux watches the *thread* that started a process; this one lasts as long as the tests, whoever calls ``start``.
_PARENT = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parent-of-mariadb")

READER, PASSWORD = "heliograph", "not-to-be-seen-1815"
_ADMIN = "admin"


def mariadb_available() -> str | None:
    """Return why no private server can be started here, or None."""
    if _binary() is None or not (_TABLES / "mysql_system_tables.sql").exists():
        return "MariaDB is not installed (Debian: apt-get install mariadb-server-core)"
    return None


class MariaDB:
    """A server with one database, ``lims``, and a user ``heliograph`` who has all rights there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: _Process | None = None
        self._port = free_port()
        self._admin = create_engine(f"mysql+pymysql://{_ADMIN}@127.0.0.1:{self._port}/lims", poolclass=NullPool)

    def __enter__(self) -> Self:
        self._make_tables()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"mysql+pymysql://{READER}:{PASSWORD}@127.0.0.1:{self._port}/lims"

    def start(self) -> None:
        """Start the server on its folder; return when it answers."""
        if self._process is not None:
            return
        begin = self._folder / "begin.sql"
        begin.write_text(
            "CREATE DATABASE IF NOT EXISTS lims CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS '{_ADMIN}'@'127.0.0.1';\n"
            f"GRANT ALL ON *.* TO '{_ADMIN}'@'127.0.0.1';\n"
            f"CREATE USER IF NOT EXISTS '{READER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON lims.* TO '{READER}'@'127.0.0.1';\n"
        )
        self._process = _spawn([
            *self._command(), f"--init-file={begin}", "--socket=socket", f"--port={self._port}",
            "--bind-address=127.0.0.1", f"--pid-file={self._folder / 'pid'}",
        ])  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"MariaDB did not start; see {self._folder / 'log'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server cleanly (SIGTERM), or by force where it does not end."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers."""
        assert self._process is not None
        freeze(self._process.pid)

    def resume(self) -> None:
        """Let a frozen server go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def run(self, *statements: str) -> Sequence[Mapping[str, Any]]:
        """Run statements as an administrator in ``lims``; return the rows of the last."""
        rows: Sequence[Mapping[str, Any]] = []
        with self._admin.begin() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
                rows = [dict(row) for row in result.mappings()] if result.returns_rows else []
        return rows

    def _answers(self) -> bool:
        with suppress(SQLAlchemyError), self._admin.connect():
            return True
        return False

    def _command(self) -> list[str]:
        return [str(_binary()), *_OPTIONS, f"--datadir={self._folder / 'data'}", f"--log-error={self._folder / 'log'}"]

    def _make_tables(self) -> None:
        """Make the server's own tables, as its installation would; that script needs a further package."""
        (self._folder / "data").mkdir(exist_ok=True)
        files = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
        words = "CREATE DATABASE mysql;\nUSE mysql;\n" + "".join((_TABLES / name).read_text() for name in files)
        subprocess.run([*self._command(), "--bootstrap"], input=words.encode(), check=True, capture_output=True)


def _binary() -> Path | None:
    return next((path for path in map(Path, _BINARIES) if path.exists()), None)


def _spawn(command: list[str]) -> _Process:
    def spawn() -> _Process:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],  # Linux ends it when the tests go, however they go
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the tests, not for the server
        )

    return _PARENT.submit(spawn).result()
