"""A service that starts before its database waits for it; one without what it needs says what, and ends."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliograph.bus.rabbitmq import RabbitBus
from heliograph_standalone.mongod import Mongod
from tests.parts.ports import free_port
from tests.parts.services import AWAY, KEYS, Service, open_stage, until_true

pytestmark = pytest.mark.faults

BUS = "amqp://guest:guest@127.0.0.1:1/"  # nobody listens: a broker is no condition
NEEDED: dict[str, dict[str, object]] = {
    "api": dict(KEYS),
    "worker": {},
    "notifier": {"smtp_url": "smtp://127.0.0.1:1", "mail_from": "Heliograph <heliograph@example.org>"},
}
HASTY_STOPS = 12


def service_of(kind: str, folder: Path, **settings: object) -> Service:
    scratch = {"scratch": folder / "scratch"} if kind == "worker" else {}
    return Service(kind, kind, folder, {"bus_url": BUS, **NEEDED[kind], **scratch, **settings})


@pytest.mark.parametrize("kind", NEEDED)
async def test_a_service_waits_for_its_database(kind: str, tmp_path: Path, mongodb_url: str) -> None:
    mongod = Mongod(tmp_path / "mongod", port=free_port())
    service = service_of(kind, tmp_path, mongodb_url=mongod.url)
    service.launch()
    try:
        about = (await service.until_status(httpx.codes.SERVICE_UNAVAILABLE)).json()
        assert about["status"] in {"unavailable", "away"}
        await until_true(lambda: AWAY in service.warnings())
        await asyncio.to_thread(mongod.start)
        await service.until_ready()
        assert [line["event"] for line in service.log()].count(AWAY) == 1
        assert await service.stop() == 0
        assert not service.complaints()
    finally:
        if service.code() is None:
            await service.kill()
        await asyncio.to_thread(mongod.stop)


@pytest.mark.parametrize("kind", NEEDED)
async def test_a_service_that_waits_can_be_stopped(kind: str, tmp_path: Path) -> None:
    service = service_of(kind, tmp_path, mongodb_url=f"mongodb://127.0.0.1:{free_port()}/?directConnection=true")
    service.launch()
    try:
        await service.until_status(httpx.codes.SERVICE_UNAVAILABLE)
        assert await service.stop() == 0
        assert not service.complaints()
    finally:
        if service.code() is None:
            await service.kill()


@pytest.mark.parametrize(
    ("kind", "setting", "value", "sentence"),
    [
        ("api", "signing_keys", None, "HELIOGRAPH_SIGNING_KEYS is not set"),
        ("api", "signing_keys", "short", "HELIOGRAPH_SIGNING_KEYS is too weak"),
        ("api", "signing_keys", "a" * 64, "HELIOGRAPH_SIGNING_KEYS is too weak"),
        ("api", "identity_key", None, "HELIOGRAPH_IDENTITY_KEY is not set"),
        ("api", "identity_key", "changeme", "HELIOGRAPH_IDENTITY_KEY is too weak"),
        ("worker", "mongodb_url", None, "HELIOGRAPH_MONGODB_URL is not set"),
        ("worker", "lease_seconds", "0", "HELIOGRAPH_LEASE_SECONDS"),
        ("notifier", "bus_url", None, "HELIOGRAPH_BUS_URL is not set"),
        ("notifier", "smtp_url", "mail.example.org", "HELIOGRAPH_SMTP_URL must be smtp://"),
    ],
)
async def test_a_service_says_what_is_missing(
    kind: str, setting: str, value: Any, sentence: str, tmp_path: Path
) -> None:
    service = service_of(kind, tmp_path, **{"mongodb_url": "mongodb://127.0.0.1:1/", setting: value})
    service.launch()
    assert await service.ended() == 1
    said = service.last_lines()
    assert sentence in said
    assert "Traceback" not in said
    if value and len(str(value)) > 3:
        assert f"'{value}'" not in said, "a secret is not repeated"


async def test_a_bus_that_is_closed_while_it_connects_does_close(rabbitmq_url: str) -> None:
    for milliseconds in range(0, 80, 2):  # a connection takes about 40, with a moment in it at which a wish was lost
        bus = RabbitBus(rabbitmq_url, name="test")
        await bus.start()
        await asyncio.sleep(milliseconds / 1000)
        async with asyncio.timeout(60):
            await bus.close()


@pytest.mark.timeout(300)
async def test_a_worker_that_is_stopped_as_soon_as_it_is_ready_leaves_nothing(
    tmp_path: Path, mongodb_url: str, database_name: str, rabbitmq_url: str
) -> None:
    async with open_stage(tmp_path, mongodb_url, database_name, rabbitmq_url) as stage:
        for _ in range(HASTY_STOPS):
            await stage.worker.start()  # it still begins to look for work when its parts are there
            assert await stage.worker.stop() == 0
            assert list((tmp_path / "scratch-worker").iterdir()) == []
