"""The notifier as a whole: what it does when it starts, stops, is killed, or misses one of its parts."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog
from pydantic import ValidationError

from heliograph.bus.memory import MemoryBus
from heliograph.faults import Point
from heliograph.jobs.model import Artifact
from heliograph.jobs.relay import Relay
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.model import DeliveryStatus, Outcome
from heliograph.notices.store import Ledger
from heliograph.readiness import readiness
from heliograph.storage import Database, Files
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings
from tests.parts.jobs import Stores, done
from tests.parts.notifier import ADA, PUBLIC_URL, told, until, wish
from tests.parts.smtp import Behaviour, MailServer

SENT = DeliveryStatus.SENT
LEASE_SECONDS = 30.0  # none is lost because a busy machine lets its holder wait
BRIEF_SECONDS = 2.0  # of a notifier that is to die
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(500)

Settings = Callable[..., NotifierSettings]


@pytest.fixture
def settings(mongodb_url: str, database_name: str, mail_server: MailServer) -> Settings:
    def make(**fields: Any) -> NotifierSettings:
        return NotifierSettings(
            **{
                "mongodb_url": mongodb_url, "mongodb_database": database_name, "bus_url": "memory://",
                "public_url": PUBLIC_URL, "smtp_url": mail_server.url, "mail_from": "heliograph@example.org",
                "metrics_host": "127.0.0.1", "metrics_port": 0, "email_sending_timeout_default_threshold": 0,
                "send_lease_seconds": LEASE_SECONDS, **fields,
            }
        )  # fmt: skip

    return make


@asynccontextmanager
async def process(settings: NotifierSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """``python -m heliograph_notifier`` with these settings; killed at the end if it still runs."""
    values = settings.model_dump(exclude_none=True, mode="json")
    words = {name: ",".join(value) if isinstance(value, list) else str(value) for name, value in values.items()}
    environment = {f"HELIOGRAPH_{name.upper()}": value for name, value in words.items()}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "heliograph_notifier", env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def has(stores: Stores, job: str, status: DeliveryStatus) -> bool:
    deliveries = await Ledger(stores.database).of_job(job)
    return bool(deliveries) and all(delivery.status is status for delivery in deliveries)


async def test_a_job_is_told_of_from_submission_to_plot(
    stores: Stores, mail_server: MailServer, settings: Settings
) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield PICTURE

    async with MemoryBus() as bus, Notifier(settings(), database=stores.database, bus=bus):
        relay = Relay(stores.outbox, stores.followers, bus)
        relaying = asyncio.create_task(relay.run())
        job = await stores.submit(name="Sunspots", notify=told(wish(threshold_seconds=None)))
        relay.nudge(job.id)
        await mail_server.wait_for_mails(1)
        claimed = await stores.claim()
        stored = await Files(stores.database, "artifacts").put(content(), name="plot.png", media_type="image/png")
        plot = Artifact("plot.png", stored.id, "image/png", stored.bytes, stored.sha256)
        assert await stores.finish(claimed, done({"peak": 11}, artifacts=(plot,)))
        relay.nudge(job.id)
        submitted, over = await mail_server.wait_for_mails(2)
        relaying.cancel()
        await asyncio.wait({relaying})
    assert submitted["Subject"].startswith("[Heliograph] submitted: Sunspots, requested ")
    assert over["Subject"].startswith("[Heliograph] done: Sunspots, requested ")
    (image,) = [part for part in over.walk() if part.get_content_type() == "image/png"]
    assert image.get_content() == PICTURE


async def test_without_the_bus_the_sweep_tells(stores: Stores, mail_server: MailServer, settings: Settings) -> None:
    bus = MemoryBus()  # never started: away
    async with Notifier(settings(), database=stores.database, bus=bus) as notifier:
        await stores.submit(notify=told())
        await mail_server.wait_for_mails(1)
        assert notifier.health
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{notifier.health.port}") as client:
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            assert (await client.get("/healthz")).json() == {"status": "ok"}

            async def is_counted() -> bool:
                return 'heliograph_notices_total{channel="email",outcome="sent"}' in (await client.get("/metrics")).text

            await until(is_counted)
            assert (await client.get("/else")).status_code == 404
            assert (await client.post("/healthz")).status_code == 405


async def test_it_is_ready_with_its_parts_and_not_without_the_database(stores: Stores) -> None:
    async with MemoryBus() as bus:
        assert readiness(stores.database, bus) == (True, {"status": "ok", "mongodb": True, "bus": True})
        async with Database("mongodb://127.0.0.1:1/", "none") as away:
            is_ready, parts = readiness(away, bus)
    assert (is_ready, parts["status"]) == (False, "unavailable")


async def test_without_a_channel_it_starts_and_says_so(stores: Stores, settings: Settings) -> None:
    with structlog.testing.capture_logs() as logs:
        async with Notifier(settings(smtp_url=None), database=stores.database, bus=MemoryBus()):
            job = await stores.submit(notify=told())

            await until(lambda: has(stores, job.id, DeliveryStatus.SUPPRESSED))
    assert [entry["log_level"] for entry in logs if "NO CHANNEL IS CONFIGURED" in entry["event"]] == ["warning"]


async def test_a_clean_end_records_what_is_being_sent(
    stores: Stores, mail_server: MailServer, settings: Settings
) -> None:
    mail_server.behaviour, mail_server.slow_seconds = Behaviour.SLOW, 0.5
    async with MemoryBus() as bus, Notifier(settings(), database=stores.database, bus=bus):
        job = await stores.submit(notify=told())
        await mail_server.wait_for_attempts(1)
    assert await has(stores, job.id, SENT)


async def test_sigterm_ends_it_cleanly(stores: Stores, mail_server: MailServer, settings: Settings) -> None:
    async with process(settings()) as child:
        job = await stores.submit(notify=told())
        await mail_server.wait_for_mails(1)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 60) == 0
    assert await has(stores, job.id, SENT)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("point", "copies", "first"),
    [
        # A sender that polls in the very moment before the kill leaves it "sending", which is then unknown.
        (Point.PLANNED_NOT_SENT, 1, {Outcome.SENT, Outcome.UNKNOWN}),
        (Point.SENDING_NOT_SENT, 1, {Outcome.UNKNOWN}),
        (Point.SENT_NOT_RECORDED, 2, {Outcome.UNKNOWN}),
    ],
)
async def test_a_killed_notifier_loses_no_notice(
    stores: Stores, mail_server: MailServer, settings: Settings, point: Point, copies: int, first: set[Outcome]
) -> None:
    job = await stores.submit(notify=told())
    async with process(settings(fault_point=point, send_lease_seconds=BRIEF_SECONDS)) as child:
        assert await asyncio.wait_for(child.wait(), 60) == -signal.SIGKILL
    async with process(settings()):
        await until(lambda: has(stores, job.id, SENT))
    (delivery,) = await Ledger(stores.database).of_job(job.id)
    assert delivery.attempts[0].outcome in first
    assert len(mail_server.mails) == copies
    assert len({mail["Message-ID"] for mail in mail_server.mails}) == 1


async def test_two_notifiers_send_one_copy(stores: Stores, mail_server: MailServer, settings: Settings) -> None:
    await ensure_notice_indexes(stores.database)
    bus = MemoryBus()
    async with (
        Notifier(settings(), database=stores.database, bus=bus),
        Notifier(settings(), database=stores.database, bus=bus),
    ):
        jobs = [await stores.submit(notify=told()) for _ in range(10)]
        for job in jobs:
            await until(lambda job=job: has(stores, job.id, SENT))  # type: ignore[misc] # the default binds the name
    assert len(mail_server.mails) == 10


def test_without_its_settings_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMTP_URL", "MAIL_FROM", "MONGODB_URL", "BUS_URL"):
        monkeypatch.delenv(f"HELIOGRAPH_{name}", raising=False)
    monkeypatch.setenv("HELIOGRAPH_MAIL_FROM", "nobody")
    with pytest.raises(SystemExit) as ended:
        NotifierSettings.load()
    assert "HELIOGRAPH_MONGODB_URL is not set (MongoDB, the truth: mongodb://" in str(ended.value)
    assert "HELIOGRAPH_MAIL_FROM this is not the address of a mailbox" in str(ended.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_url": "http://x"}, {"mail_from": "a@b, c@d"}, {"contact_email": "x"}, {"senders": 0},
        {"email_sending_timeout_default_threshold": -1}, {"disclosure": "email=some"}, {"disclosure": "full"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {
        "mongodb_url": "mongodb://x", "bus_url": "memory://", "smtp_url": "smtp://u:secret@x", "mail_from": ADA,
    }  # fmt: skip
    assert "secret" not in repr(NotifierSettings(**right))
    with pytest.raises(ValidationError):
        NotifierSettings(**{**right, **wrong})
