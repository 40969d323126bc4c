"""Databases that tests have one after the other: to make one, with its indexes, costs a server a tenth of a second."""

import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pymongo import MongoClient

# So many others had theirs since: whatever a service that was killed had still asked for has long come to its end.
_REST = 6
_open: dict[str, "Databases"] = {}


@contextmanager
def lent(url: str) -> Iterator[str]:
    """Lend the name of a database that nobody else uses and that holds no document."""
    databases = _open.get(url)
    if databases is None:  # a server of one test alone
        yield _new_name()
        return
    name = databases.lend()
    yield name
    databases.take_back(name)


class Databases:
    """The databases of a server that tests share. One that was another test's still has its collections and indexes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._resting: deque[str] = deque()

    def __enter__(self) -> Self:
        self._client: MongoClient[dict[str, object]] = MongoClient(self._url)
        _open[self._url] = self
        return self

    def __exit__(self, *exc: object) -> None:
        del _open[self._url]
        self._client.close()

    def lend(self) -> str:
        if len(self._resting) < _REST:
            return _new_name()
        name = self._resting.popleft()
        self._empty(name)
        return name

    def take_back(self, name: str) -> None:
        self._resting.append(name)

    def _empty(self, name: str) -> None:
        database = self._client[name]
        collections = database.list_collection_names()
        if "system.profile" in collections:  # nobody may empty what the profiler wrote
            self._client.drop_database(name)
            return
        for collection in collections:
            database[collection].delete_many({})
            database.command("planCacheClear", collection)  # plans that were good for another test's documents


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"
