"""How fast mails go out: the whole way from planned deliveries to the ledger, and the channel alone.

    python -m bench.notices        BENCH_NOTICES, BENCH_ROUNDS set its size

The baseline hands a mail that is made already to ``aiosmtplib.send()``, which opens a connection for each message, one
after another and with as many at a time as this project sends. All take turns at one sink in this one run.
"""

import asyncio
import contextlib
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import structlog
import uvloop
from typing_extensions import override

from bench.stack import HERE, free_port
from heliograph.channels import Notice
from heliograph.ids import new_id
from heliograph.jobs.store.indexes import ensure_job_indexes
from heliograph.notices.indexes import ensure_notice_indexes
from heliograph.notices.model import OPEN, Delivery, DeliveryStatus, Occasion, Subject
from heliograph.notices.store import Ledger
from heliograph.serving import spare_the_collector
from heliograph.storage import Database, Files
from heliograph_notifier.attempts import Matter
from heliograph_notifier.channels.connections import Connections, Server
from heliograph_notifier.channels.email import EmailChannel
from heliograph_notifier.channels.message import Composer
from heliograph_notifier.describing.describer import Describer
from heliograph_notifier.disclosure import Disclosure
from heliograph_notifier.links import Links
from heliograph_notifier.second_look import WAITED, SecondLook
from heliograph_notifier.sender import Pace, Sender
from heliograph_standalone.mongod import Mongod
from tests.parts.certificates import Authority
from tests.parts.jobs import Stores

NOTICES = int(os.environ.get("BENCH_NOTICES", "600"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SENDERS = 8  # the service's defaults
CONNECTIONS = 4
LEASE = timedelta(seconds=90)
SENDER = "Heliograph <heliograph@example.org>"
KEYS = ["a key that signs the links of the bench alone"]
Round = Callable[[], Awaitable[None]]


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    spare_the_collector()
    with tempfile.TemporaryDirectory() as folder, Mongod(Path(folder) / "mongodb") as mongod:
        authority = Authority(Path(folder))
        certificate = authority.certify()
        with sink() as plain, sink(certificate.certificate, certificate.key) as secure:
            print(f"mails, {NOTICES} a round, {ROUNDS} rounds in turn, messages/s")
            uvloop.run(measure(mongod.url, "plain", f"smtp://127.0.0.1:{plain}", None))
            url = f"smtp+starttls://bench:secret@127.0.0.1:{secure}"
            uvloop.run(measure(mongod.url, "STARTTLS and login", url, authority.file))


async def measure(mongodb_url: str, title: str, url: str, ca_file: Path | None) -> None:
    server = Server.of(url)
    composer = Composer(SENDER)
    async with Database(mongodb_url, new_id()) as database:
        await ensure_notice_indexes(database)
        stores, ledger = Stores.of(database), Ledger(database)
        describer = Describer(database, Links("https://heliograph.example.org", KEYS))
        connections = Connections(server, CONNECTIONS, ca_file)
        channel = Counting(connections, composer, Files(database, "artifacts"))
        matter = Matter(describer, SecondLook(database), {"email": Disclosure.FULL})
        sample = await planned(stores, ledger, 1)
        await ensure_job_indexes(database)
        notice = await describer.describe(sample[0])
        mail = message_from_bytes(composer.compose(notice, sample[0]), policy=policy.SMTP)

        async def whole() -> None:
            async with sending(Sender(ledger, matter, {"email": channel}, Pace(SENDERS, LEASE * 2 / 3))):
                await channel.sends(NOTICES)
                while await is_open(ledger):  # noqa: ASYNC110 - the database tells nobody
                    await asyncio.sleep(0.005)

        rounds: dict[str, Round] = {
            "whole path": whole,
            "whole path, waited": whole,
            "channel alone": lambda: abreast(SENDERS, lambda: channel.send(notice, sample[0])),
            "baseline": lambda: abreast(1, lambda: one(mail, server, ca_file)),
            f"baseline, {SENDERS} at a time": lambda: abreast(SENDERS, lambda: one(mail, server, ca_file)),
        }
        rates: dict[str, list[float]] = {name: [] for name in rounds}
        for number in range(-1, ROUNDS):  # round -1 warms up
            for name, run in rounds.items():
                if run is whole:
                    await planned(stores, ledger, NOTICES, ago=WAITED * 2 if name.endswith("waited") else timedelta(0))
                began = time.perf_counter()
                await run()
                if number >= 0:
                    rates[name].append(NOTICES / (time.perf_counter() - began))
        await channel.close()
        await database.drop()
    base = statistics.median(rates["baseline"])
    for name, each in rates.items():
        print(f"  {title}, {name:<24}{statistics.median(each):8.0f} /s   {statistics.median(each) / base:5.1f} x")


class Counting(EmailChannel):
    """Says when it has sent so many; asking the database all the time would be most of its work."""

    def __init__(self, connections: Connections, composer: Composer, pictures: Files) -> None:
        super().__init__(connections, composer, pictures)
        self.sent = self.enough = 0
        self.done = asyncio.Event()

    async def sends(self, count: int) -> None:
        """Return once it has sent ``count`` more."""
        self.enough = self.sent + count
        self.done.clear()
        await self.done.wait()

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        receipt = await super().send(notice, delivery)
        self.sent += 1
        if self.sent == self.enough:
            self.done.set()
        return receipt


async def is_open(ledger: Ledger) -> bool:
    """Say whether anything is still to be sent, at little cost to the database that is measured."""
    for status in OPEN:
        if (await ledger.page(status=status, limit=1)).deliveries:
            return True
    return False


async def planned(stores: Stores, ledger: Ledger, count: int, ago: timedelta = timedelta(0)) -> list[Delivery]:
    """Return deliveries that are due, planned some time ago, each of a job of its own."""
    jobs = await asyncio.gather(*(stores.submit(name="Sunspots") for _ in range(count)))
    now = await stores.database.now() - ago
    deliveries = [
        Delivery(
            id=new_id(), subject=Subject.of_job(job.id), occasion=Occasion.SUBMITTED, series=1, seq=1, channel="email",
            recipient="ada@example.org", status=DeliveryStatus.PLANNED, reason="submitted-wished: for the bench",
            created_at=now, due_at=now, person=job.owner,
        )
        for job in jobs
    ]  # fmt: skip
    assert len(await ledger.insert(deliveries)) == count
    return deliveries


@asynccontextmanager
async def sending(sender: Sender) -> AsyncIterator[None]:
    task = asyncio.create_task(sender.run())
    yield
    sender.stop()
    await task


async def abreast(workers: int, work: Callable[[], Awaitable[object]]) -> None:
    numbers = iter(range(NOTICES))

    async def one_after_another() -> None:
        for _ in numbers:
            await work()

    await asyncio.gather(*(one_after_another() for _ in range(workers)))


async def one(mail: EmailMessage, server: Server, ca_file: Path | None) -> None:
    trust = ssl.create_default_context(cafile=ca_file) if ca_file else None
    await aiosmtplib.send(
        mail, hostname=server.host, port=server.port, username=server.user, password=server.password,
        start_tls=server.starts_tls, tls_context=trust,
    )  # fmt: skip


@contextlib.contextmanager
def sink(*certificate: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "bench.sink", str(port), *map(str, certificate)]
    process = subprocess.Popen(command, cwd=HERE.parent)
    try:
        time.sleep(1.0)  # it says nothing; nobody measures yet
        yield port
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    main()
