"""A contact directory in a database: one query, whose rows are people."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from heliograph_notifier.contacts.engines import CONNECT_SECONDS, CONNECTIONS, STATEMENT_SECONDS
from heliograph_notifier.contacts.entry import Entry
from heliograph_notifier.contacts.port import Contact, ContactsUnavailableError

_log = structlog.get_logger()

MOST_ROWS = 500
LOOKUP_SECONDS = CONNECT_SECONDS + 2 * STATEMENT_SECONDS  # and wait for a connection, at the worst
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`")
_SWITCHES = frozenset({"submitted", "running", "done", "failed", "digest"})
_COLUMNS = frozenset(Entry.model_fields)


def judge_query(query: str) -> str:
    """Return a query as it is asked.

    Raises
    ------
    ValueError
        It is not one SELECT that takes ``:subject`` and nothing else.
    """
    query = query.strip().removesuffix(";").rstrip()
    if not re.match(r"(?i)(select|with)\b", query) or ";" in _QUOTED.sub("", query):
        raise ValueError("is not a single SELECT")
    parameters = set(text(query).compile().params)
    if parameters != {"subject"}:
        others = ", ".join(f":{name}" for name in sorted(parameters - {"subject"}))
        raise ValueError(f"takes {others}; only :subject is known" if others else "does not say where :subject goes")
    return query


class PeopleQuery:
    """Asks a database for the people of a subject, in threads of its own."""

    def __init__(self, engine: Engine, query: str) -> None:
        self._engine = engine
        self._query = text(judge_query(query))
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="contacts")
        self._unknown: frozenset[str] = frozenset()

    async def named(self, subject: str) -> Sequence[Contact]:
        """Return the people of a subject; rows that make no sense are left out, and logged."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                rows = await loop.run_in_executor(self._threads, self._ask, subject)
        except TimeoutError:
            raise ContactsUnavailableError("the contact database did not answer in time") from None
        except Exception as error:  # noqa: BLE001 - a driver raises what it likes; nothing of it may end the planner
            raise ContactsUnavailableError(f"the contact database cannot be asked ({_kind(error)})") from None
        if len(rows) > MOST_ROWS:
            _log.warning("the contact database names too many; the first are taken", subject=subject, most=MOST_ROWS)
        found = (self._contact(subject, number, row) for number, row in enumerate(rows[:MOST_ROWS], 1))
        return [contact for contact in found if contact is not None]

    async def close(self) -> None:
        """Close the connections that are idle; one that is in use ends with its own limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._engine.dispose)

    def _ask(self, subject: str) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            found = connection.execute(self._query, {"subject": subject})
            return [
                {name.lower(): value for name, value in row.items()}
                for row in found.mappings().fetchmany(MOST_ROWS + 1)
            ]

    def _contact(self, subject: str, number: int, row: Mapping[str, Any]) -> Contact | None:
        unknown = frozenset(row) - _COLUMNS
        if unknown - self._unknown:
            self._unknown |= unknown
            _log.warning(
                "columns of the contact query that mean nothing", columns=sorted(unknown), known=sorted(_COLUMNS)
            )
        stated = {name: _plain(name, value) for name, value in row.items() if name in _COLUMNS and value is not None}
        try:
            return Entry.model_validate({name: value for name, value in stated.items() if value != ""}).contact()
        except ValidationError as error:
            wrong = [
                f"{'.'.join(map(str, fault['loc'])) or 'the row'}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in error.errors(include_url=False, include_input=False, include_context=False)
            ]
            _log.warning("a row of the contact query is left out", subject=subject, row=number, wrong=wrong)
            return None


def _plain(column: str, value: Any) -> Any:
    """Return a database's value as a directory states it: numbers and bits stand for yes and no."""
    if isinstance(value, bytes):
        value = value[0] if column in _SWITCHES and len(value) == 1 else value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip()
    if column in _SWITCHES and isinstance(value, int | Decimal) and value in {0, 1}:
        return bool(value)
    return float(value) if isinstance(value, Decimal) else value


def _kind(error: Exception) -> str:
    """Return an error's kind and number. Its words may hold the query, or what was asked for."""
    if not isinstance(error, SQLAlchemyError):
        return type(error).__name__
    original = error.orig if isinstance(error, DBAPIError) else None
    number = getattr(original, "sqlite_errorname", None) or next(iter(getattr(original, "args", ())), None)
    return f"{type(error).__name__} {number}" if _is_code(number) else type(error).__name__


def _is_code(number: object) -> bool:
    return isinstance(number, int) or (isinstance(number, str) and bool(re.fullmatch(r"SQLITE_\w+", number)))
