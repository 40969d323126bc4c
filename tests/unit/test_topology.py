from datetime import UTC, datetime, timedelta

import pytest

from heliograph.backoff import Backoff
from heliograph.bus import connect, topology
from heliograph.bus.memory import MemoryBus
from heliograph.bus.rabbitmq import RabbitBus
from heliograph.events.model import JobEvent, JobEventData
from heliograph.jobs.states import State


def event(queue: str, *, told: bool, progress: bool = False) -> JobEvent:
    data = JobEventData(
        id="01J", state=State.RUNNING, series=1, seq=1, told=told, queue=queue, owner="ada", at=datetime.now(UTC)
    )
    return JobEvent.of_progress(data) if progress else JobEvent.of_change(data)


@pytest.mark.parametrize(
    ("binding", "key", "expected"),
    [
        ("job.#", "job.done.periodogram.told", True),
        ("job.*.*.told", "job.done.periodogram.told", True),
        ("job.*.*.told", "job.done.periodogram.plain", False),
        ("job.*.*.told", "job.done.told", False),
        ("job.done.#", "job.done.periodogram.told", True),
        ("job.done.#", "job.failed.periodogram.told", False),
        ("#", "job.done.periodogram.told", True),
        ("#.told", "job.done.periodogram.told", True),
        ("job.#.periodogram.#", "job.done.periodogram.told", True),
        ("job.*", "job.done.periodogram.told", False),
        ("job.#", "job", True),  # no word is also a number of words
        ("job.*", "job", False),
        ("job", "jobs", False),
    ],
)
def test_a_topic_binding_takes_what_the_broker_would_take(binding: str, key: str, expected: bool) -> None:
    assert topology.is_match(binding, key) is expected


def test_a_routing_key_has_four_words_whatever_the_queue_is_called() -> None:
    for queue in ("periodogram", "site one: dome.2", "Ω", "a" * 500):
        key = topology.routing_key(event(queue, told=True))
        assert len(key.split(".")) == 4
        assert len(key) < 256  # the protocol's limit
        assert topology.is_match(topology.TOLD_BINDING, key)


def test_the_routing_key_says_state_queue_and_whether_people_are_told() -> None:
    assert topology.routing_key(event("periodogram", told=False)) == "job.running.periodogram.plain"
    assert topology.routing_key(event("periodogram", told=False, progress=True)) == "job.progress.periodogram.plain"


def test_queues_with_different_names_have_different_words() -> None:
    assert topology.word("site one") != topology.word("site two")
    assert topology.word("site one") == topology.word("site one")


def test_every_exchange_and_queue_is_described() -> None:
    text = topology.describe()
    for name in [*(exchange.name for exchange in topology.EXCHANGES), *(queue.name for queue in topology.QUEUES)]:
        assert name in text
    assert "heliograph.hints.<backend>" in text


@pytest.mark.parametrize(
    ("url", "expected"), [("memory://", MemoryBus), ("amqp://h/", RabbitBus), ("amqps://h/", RabbitBus)]
)
async def test_the_scheme_names_the_bus(url: str, expected: type) -> None:
    assert isinstance(connect(url, name="api"), expected)


@pytest.mark.parametrize("url", ["redis://localhost", "localhost:5672", ""])
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="amqp://, amqps:// or memory://"):
        connect(url, name="api")


def test_waits_double_up_to_their_ceiling() -> None:
    backoff = Backoff(timedelta(seconds=1), timedelta(seconds=5))
    for failures, longest in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 5), (1000, 5)]:
        waits = [backoff.wait(failures).total_seconds() for _ in range(100)]
        assert longest / 2 <= min(waits)
        assert max(waits) <= longest
        assert len(set(waits)) > 1
