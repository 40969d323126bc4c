"""Connections to the database of a contact directory: a few, for reading alone, and none that waits for ever."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

CONNECTIONS = 2
STATEMENT_SECONDS = 10
CONNECT_SECONDS = 5
_STEPS = 10_000  # of SQLite's machine between two looks at the time: about a millisecond

# What the drivers call the limits; those of others take only the limit on the whole lookup.
_ARGUMENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "pymysql": {"connect_timeout": CONNECT_SECONDS, "read_timeout": STATEMENT_SECONDS + 1, "write_timeout": 5},
        "pysqlite": {"timeout": STATEMENT_SECONDS},
    }
)


def open_engine(address: str) -> Engine:
    """Return the engine of a database; nothing is connected before it is asked.

    Raises
    ------
    ValueError
        The address is none, or its driver is not installed; the message does not tell the password.
    """
    try:
        url = make_url(address)
        engine = create_engine(
            _read_only(url), connect_args=dict(_ARGUMENTS.get(url.get_driver_name(), {})), hide_parameters=True,
            max_overflow=0, pool_pre_ping=True, pool_size=CONNECTIONS, pool_timeout=STATEMENT_SECONDS,
        )  # fmt: skip
    except ImportError as error:
        raise ValueError(f"needs a driver that is not installed ({error.name}); try mysql+pymysql://") from None
    except (SQLAlchemyError, TypeError, ValueError):
        raise ValueError(
            "is not a database's URL, such as mysql+pymysql://user:password@host/lims; in a password, / is written "
            "%2F, @ %40, : %3A and # %23"
        ) from None
    if engine.dialect.is_async:
        raise ValueError("names a driver for asyncio; take one that is not, such as mysql+pymysql://")
    match engine.dialect.name:
        case "sqlite":
            _limit_sqlite(engine)
        case "mysql" | "mariadb":
            _limit_mysql(engine)
    return engine


def _read_only(url: URL) -> URL:
    """Return the URL of a SQLite file as one for reading, which does not make the file where it is missing."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":", "file:")):
        return url
    return url.set(database=f"file:{quote(url.database)}").update_query_dict({"mode": "ro", "uri": "true"})


def _limit_mysql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: Any) -> None:
        is_mariadb = "MariaDB" in connection.get_server_info()
        limit = ("max_statement_time", STATEMENT_SECONDS) if is_mariadb else (
            "max_execution_time", STATEMENT_SECONDS * 1000)  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute(f"SET SESSION {limit[0]} = {limit[1]}")


def _limit_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def limit(_connection: Any, cursor: Any, *_rest: Any) -> None:
        deadline = time.monotonic() + STATEMENT_SECONDS
        cursor.connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
