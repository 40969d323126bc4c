"""The mail catcher: what is sent to it can be read, by a test and by a person."""

import asyncio
import email
import email.policy
import smtplib
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from heliograph_standalone.catcher import MailCatcher, as_person_reads

PICTURE = b"\x89PNG\r\n\x1a\n" + b"\x00" * 1992


@pytest.fixture
async def catcher(tmp_path: Path) -> AsyncIterator[MailCatcher]:
    async with MailCatcher(tmp_path / "mail") as running:
        yield running


def mail(subject: str = "Periodogram: done ✓") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Heliograph <heliograph@example.org>"
    message["To"] = "ada@example.org"
    message["Subject"] = subject
    message["Date"] = "Sat, 21 Nov 2026 12:00:00 +0000"
    message.set_content("The peak is at 11.0 years.\n.\nÅngström\n")
    message.add_alternative('<p>The peak is at 11.0 years.</p><img src="cid:plot">', subtype="html")
    html = message.get_body(("html",))
    assert html is not None
    html.add_related(PICTURE, "image", "png", cid="<plot>", filename="periodogram.png", disposition="inline")
    message.add_attachment("period,power\n", subtype="csv", filename="spectrum.csv")
    return message


async def send(catcher: MailCatcher, *messages: EmailMessage) -> None:
    def talk() -> None:
        host, _, port = catcher.url.removeprefix("smtp://").partition(":")
        with smtplib.SMTP(host, int(port), timeout=10) as client:
            for message in messages:
                client.send_message(message)

    await asyncio.to_thread(talk)


async def test_a_message_arrives_unchanged(catcher: MailCatcher) -> None:
    await send(catcher, mail())
    (message,) = catcher.messages
    assert message["Subject"] == "Periodogram: done ✓"
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines() == ["The peak is at 11.0 years.", ".", "Ångström"]


async def test_messages_are_files_in_order_of_arrival_also_after_a_restart(catcher: MailCatcher) -> None:
    await send(catcher, mail("One"), mail("../Two?"))
    await catcher.stop()
    async with MailCatcher(catcher.folder) as later:
        await send(later, mail(""))
    files = sorted(catcher.folder.iterdir())
    assert [file.name for file in files] == ["0001-one.eml", "0002-two.eml", "0003-no-subject.eml"]
    kept = email.message_from_bytes(files[0].read_bytes(), policy=email.policy.default)
    assert kept["To"] == "ada@example.org"


async def test_a_message_that_is_still_to_come_can_be_awaited(catcher: MailCatcher) -> None:
    waiting = asyncio.create_task(catcher.wait_for(lambda message: message["Subject"] == "Two"))
    await send(catcher, mail("One"))
    assert not waiting.done()
    await send(catcher, mail("Two"))
    assert (await asyncio.wait_for(waiting, 60))["Subject"] == "Two"


async def test_a_person_reads_head_text_and_what_comes_with_it(catcher: MailCatcher) -> None:
    await send(catcher, mail())
    assert as_person_reads(catcher.messages[0]).splitlines() == [
        "From: Heliograph <heliograph@example.org>",
        "To: ada@example.org",
        "Subject: Periodogram: done ✓",
        "Date: Sat, 21 Nov 2026 12:00:00 +0000",
        "",
        "The peak is at 11.0 years.",
        ".",
        "Ångström",
        "",
        "[shown in the message: periodogram.png, image/png, 2,000 bytes]",
        "[attachment: spectrum.csv, text/csv, 14 bytes]",
    ]


def test_a_message_without_text_says_so() -> None:
    message = EmailMessage()
    message["Subject"] = "Only HTML"
    message.set_content("<p>hello</p>", subtype="html")
    assert as_person_reads(message) == "Subject: Only HTML\n\n(This message has no text part.)"
