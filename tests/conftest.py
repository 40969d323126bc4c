"""The real parts that tests of every ring share: one RabbitMQ node and one mongod for each test process."""

import os
import uuid
from collections.abc import Iterator

import pytest

from heliograph_standalone.mongod import Mongod, MongodError
from tests.parts.rabbitmq import RabbitNode, rabbitmq_available


def need(part: str, reason: str | None) -> None:
    """Go on where ``reason`` is None; else skip and say what is missing, or fail where CI must have every part."""
    if reason is None:
        return
    sentence = f"{part} is missing: {reason}"
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(sentence)
    pytest.skip(sentence)


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
    with mongod:
        yield mongod.url


@pytest.fixture
def database_name() -> str:
    """A database that no other test uses."""
    return f"test_{uuid.uuid4().hex}"
