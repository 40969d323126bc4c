"""The example channel over Apprise, from its configuration to what a place receives."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from heliograph.channels import ChannelContext
from heliograph.notices.model import DeliveryStatus, Outcome
from heliograph_apprise import AppriseChannel
from heliograph_notifier.disclosure import Disclosure
from tests.parts.jobs import Stores
from tests.parts.notifier import desk, told, wish
from tests.parts.smtp import MailServer

# Apprise imports a module of Python's own that goes away with 3.13; it does without it there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

FULL = {"apprise": Disclosure.FULL}


class Place:
    """A web server to which Apprise posts; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status = 200
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        self.posted.append(json.loads(await reader.readexactly(int(length))))
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()
    server = await asyncio.start_server(found.answer, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


@pytest.fixture
def channel(place: Place, tmp_path: Path) -> AppriseChannel:
    """The channel as the notifier opens it, with one place that has a tag."""
    config = tmp_path / "places"
    config.write_text(f"observers=json://127.0.0.1:{place.port}/\n")
    nothing = cast(Any, None)
    found = AppriseChannel.of(ChannelContext(nothing, {"config": str(config)}, nothing, nothing, nothing, "a test"))
    assert found is not None
    return found


@asynccontextmanager
async def told_over(
    channel: AppriseChannel, recipient: str, stores: Stores, server: MailServer, status: DeliveryStatus
) -> AsyncIterator[list[tuple[Outcome, str | None]]]:
    """A job told to a recipient; what became of each attempt once it stands there."""
    async with desk(stores, server, channels=[channel], disclosures=FULL) as notifier, notifier.sending():
        job = await stores.submit(notify=told(wish(recipient, channel="apprise")))
        await notifier.plan(job)
        (delivery,) = await notifier.wait_for(job, status)
        yield [(attempt.outcome, attempt.reply) for attempt in delivery.attempts]


async def test_a_notice_reaches_the_place_with_its_tag(
    stores: Stores, mail_server: MailServer, place: Place, channel: AppriseChannel
) -> None:
    async with told_over(channel, "observers", stores, mail_server, DeliveryStatus.SENT) as attempts:
        assert attempts == [(Outcome.SENT, "taken")]
    (posted,) = place.posted
    assert "submitted" in posted["title"]
    assert "queued" in posted["message"]


async def test_what_no_place_takes_is_left_to_people(
    stores: Stores, mail_server: MailServer, place: Place, channel: AppriseChannel
) -> None:
    place.status = 500
    async with told_over(channel, "observers", stores, mail_server, DeliveryStatus.UNKNOWN) as attempts:
        assert [outcome for outcome, _ in attempts] == [Outcome.UNKNOWN]
    assert len(place.posted) == 1


@pytest.mark.parametrize("recipient", ["json://127.0.0.1:{port}/", "nobody", "all", "observers, all"])
async def test_a_user_names_a_tag_and_nothing_else(
    stores: Stores, mail_server: MailServer, place: Place, channel: AppriseChannel, recipient: str
) -> None:
    named = recipient.format(port=place.port)
    async with told_over(channel, named, stores, mail_server, DeliveryStatus.FAILED) as attempts:
        assert [outcome for outcome, _ in attempts] == [Outcome.REFUSED]
    assert place.posted == []


def test_without_its_file_it_is_not_configured_and_an_empty_one_is_said_so(tmp_path: Path) -> None:
    nothing = cast(Any, None)
    assert AppriseChannel.of(ChannelContext(nothing, {}, nothing, nothing, nothing, "a test")) is None
    (tmp_path / "places").write_text("# none\n")
    with pytest.raises(ValueError, match="names no place"):
        AppriseChannel(tmp_path / "places")
    with pytest.raises(ValueError, match="nowhere cannot be read: No such file"):
        AppriseChannel(tmp_path / "nowhere")
