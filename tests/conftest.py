"""The real parts that tests of every ring share: one RabbitMQ node and one mongod for each test process."""

import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from heliograph_standalone.mongod import Mongod, MongodError
from tests.parts.certificates import Authority
from tests.parts.databases import Databases, lent
from tests.parts.rabbitmq import RabbitNode, rabbitmq_available

# Tests of these folders start processes and wait for them; the others compute.
_WAITING = {"acceptance", "browser", "contract", "faults", "matrix"}
_TEST_PROCESSES_FOR_TWO_CORES = 3  # while two compute, one waits


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many test processes ``-n auto`` starts."""
    return max(1, len(os.sched_getaffinity(0)) * _TEST_PROCESSES_FOR_TWO_CORES // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in an order that keeps all processes at work: one that waits, one that computes, and so on.

    The slow ones come first and the quick ones of ``unit`` last, so that no process is alone with a long file at the
    end.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = {path for path, its in files.items() if any(item.get_closest_marker("slow") for item in its)}
    waiting = sorted((path for path in files if path.parent.name in _WAITING), key=lambda path: path not in slow)
    computing = sorted(set(files).difference(waiting), key=lambda path: (path.parent.name == "unit", path))
    order = [path for pair in zip_longest(waiting, computing) for path in pair if path is not None]
    items[:] = [item for path in order for item in files[path]]


def need(part: str, reason: str | None) -> None:
    """Go on where ``reason`` is None; else skip and say what is missing, or fail where CI must have every part."""
    if reason is None:
        return
    sentence = f"{part} is missing: {reason}"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session", autouse=True)
def _trust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let an authority of the tests stand for those that this machine trusts, here and in processes that tests start.

    Tests speak to servers of their own only. Each HTTP client and each mail channel reads whom to trust as it is made,
    which takes 20 ms of computing for the machine's list and none for this one.
    """
    authority = Authority(tmp_path_factory.mktemp("trust"), "an authority that signs nothing")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(authority.file))
        yield


@pytest.fixture(scope="session")
def rabbitmq_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A RabbitMQ node of this test process; a test that stops it starts it again."""
    need("RabbitMQ", rabbitmq_available())
    with RabbitNode(tmp_path_factory.mktemp("rabbitmq")) as node:
        yield node


@pytest.fixture
def rabbitmq_url(rabbitmq_node: RabbitNode) -> str:
    """The URL of a running node that holds none of heliograph's queues."""
    rabbitmq_node.start()
    rabbitmq_node.clear()
    return rabbitmq_node.url


@pytest.fixture(scope="session")
def mongodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a mongod of this test process, a replica set of one."""
    mongod = Mongod(tmp_path_factory.mktemp("mongod"))
    try:
        mongod.start()
    except MongodError as missing:
        need("MongoDB", str(missing))
    with mongod, Databases(mongod.url):
        yield mongod.url


@pytest.fixture
def database_name(mongodb_url: str) -> Iterator[str]:
    """A database that no other test uses meanwhile, and that holds no document."""
    with lent(mongodb_url) as name:
        yield name
