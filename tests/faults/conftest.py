"""The stage of each test, and a subscriber that misses nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.subscriber import Subscriber
from tests.parts.services import Stage, open_stage


@pytest.fixture
async def stage(tmp_path: Path, mongodb_url: str, database_name: str, rabbitmq_url: str) -> AsyncIterator[Stage]:
    """Services that are still to be started, on the real parts of this test process."""
    async with open_stage(tmp_path, mongodb_url, database_name, rabbitmq_url) as opened:
        yield opened


@pytest.fixture
async def subscriber(rabbitmq_url: str) -> Subscriber:
    """A subscriber whose queue is there before the first event."""
    subscriber = Subscriber(rabbitmq_url)
    await subscriber.declare()
    return subscriber
