"""What the tests of Matrix share: one homeserver for the run, and people on it who see what they are shown."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from heliograph.storage import Database
from tests.conftest import need
from tests.parts.matrix import Person
from tests.parts.synapse import Synapse, User, synapse_missing


@pytest.fixture(scope="session")
def homeserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """A Synapse of this test process without rate limits; a test that stops it starts it again."""
    need("Synapse", synapse_missing())
    with Synapse(tmp_path_factory.mktemp("synapse")) as server:
        yield server


@pytest.fixture(scope="session")
def registered(homeserver: Synapse) -> Callable[[str], User]:
    """Register users whose names nobody else has: ``registered("bot")`` is ``@bot7:hs.test``."""
    numbers = itertools.count(1)
    return lambda name: homeserver.register(f"{name}{next(numbers)}")


@pytest.fixture
def bot(registered: Callable[[str], User]) -> User:
    """The notifier's account of this test."""
    return registered("bot")


@pytest.fixture
async def alice(homeserver: Synapse, registered: Callable[[str], User]) -> AsyncIterator[Person]:
    """Somebody with a client that has uploaded its keys."""
    async with Person(homeserver, registered("alice")) as person:
        yield person


@pytest.fixture
async def database(mongodb_url: str, database_name: str) -> AsyncIterator[Database]:
    """A database of this test."""
    async with Database(mongodb_url, database_name) as opened:
        yield opened
