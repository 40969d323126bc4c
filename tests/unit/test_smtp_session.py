"""A mail over one connection: which exchanges it takes, and what is left of the connection when the server says no."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPResponse,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from heliograph_notifier.channels.connections import Connections, Server
from heliograph_notifier.channels.session import Session
from tests.parts.scripted_smtp import HANG_UP, TAKEN, Script, scripted
from tests.parts.waiting import until

ADA = "ada@example.org"
US = "heliograph@example.org"
MAIL = b"Subject: Sunspots\r\n\r\nThe plot is ready.\r\n"
LARGE_MAIL = MAIL + b"x" * 3_000_000  # more than lies between two who do not read


@asynccontextmanager
async def session(
    answers: Mapping[str, str] | None = None, *, pipelines: bool = True, patience: float = 20
) -> AsyncIterator[tuple[Session, Script]]:
    async with scripted(answers) as script:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", script.port)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        opened = Session(transport, pipelines=pipelines, takes_utf8=True, patience=patience)
        try:
            await until(lambda: script.writer is not None, within_seconds=10)
            yield opened, script
        finally:
            opened.close()
            script.may_read.set()
            await asyncio.wait_for(script.is_over.wait(), 10)


async def finish(open_session: Session, message: bytes = MAIL) -> SMTPResponse:
    """Hand a mail over that the server expects, and return its answer."""
    open_session.hand_over(message)
    return await open_session.answer()


async def say(script: Script, words: bytes) -> None:
    """Have the server say what nobody asked for."""
    assert script.writer
    script.writer.write(words)
    await script.writer.drain()


@pytest.mark.parametrize("pipelines", [True, False])
async def test_a_mail_is_taken_and_the_next_one_goes_over_the_same_connection(*, pipelines: bool) -> None:
    async with session(pipelines=pipelines) as (open_session, script):
        for _ in range(2):
            await open_session.begin(US, ADA)
            assert (await finish(open_session)).message == "taken"
        assert open_session.is_connected
    assert script.heard == [f"MAIL FROM:<{US}>", f"RCPT TO:<{ADA}>", "DATA"] * 2
    assert script.mails == [MAIL.removesuffix(b"\r\n")] * 2


@pytest.mark.parametrize(("pipelines", "exchanges"), [(True, 2), (False, 4)])
async def test_commands_travel_together_where_the_server_takes_them(*, pipelines: bool, exchanges: int) -> None:
    async with session(pipelines=pipelines) as (open_session, script):
        await open_session.begin(US, ADA)
        await finish(open_session)
    assert len(script.reads) == exchanges


async def test_no_line_of_a_mail_ends_it_early() -> None:
    text = b".\r\nMAIL FROM:<x>\r\n.\r\n..\r\nno end of line"
    async with session() as (open_session, script):
        await open_session.begin(US, ADA)
        await finish(open_session, text)
        assert open_session.is_connected
    assert script.mails == [b"..\r\nMAIL FROM:<x>\r\n..\r\n...\r\nno end of line"]
    assert script.heard[-1] == "DATA"


REFUSALS: list[tuple[dict[str, str], type[SMTPException]]] = [
    ({"MAIL": "550 not you", "RCPT": "503 no", "DATA": "503 no"}, SMTPSenderRefused),
    ({"RCPT": "550 no such mailbox", "DATA": "554 nobody"}, SMTPRecipientRefused),
    ({"DATA": "451 not now"}, SMTPDataError),
]


@pytest.mark.parametrize("pipelines", [True, False])
@pytest.mark.parametrize(("answers", "error"), REFUSALS)
async def test_after_a_refusal_nothing_is_sent_and_the_connection_serves_on(
    answers: dict[str, str], error: type[SMTPException], *, pipelines: bool
) -> None:
    async with session(answers, pipelines=pipelines) as (open_session, script):
        with pytest.raises(error):
            await open_session.begin(US, ADA)
        assert pipelines or script.heard[-1].startswith(next(iter(answers)))  # nothing is said after it
        script.answers = TAKEN
        await open_session.reset()
        await open_session.begin(US, ADA)
        assert (await finish(open_session)).code == 250
    assert len(script.mails) == 1


async def test_a_server_that_expects_a_mail_for_nobody_is_left() -> None:
    async with session({"RCPT": "550 no such mailbox"}) as (open_session, script):
        with pytest.raises(SMTPRecipientRefused):
            await open_session.begin(US, ADA)
        assert not open_session.is_connected
        await asyncio.wait_for(script.is_over.wait(), 10)  # it found the connection closed
    assert script.mails == []


async def test_a_refusal_counts_though_the_server_is_gone_then() -> None:
    async with session({"RCPT": "550 no such mailbox", "DATA": HANG_UP}) as (open_session, _):
        with pytest.raises(SMTPRecipientRefused, match="no such mailbox"):
            await open_session.begin(US, ADA)
        assert not open_session.is_connected


async def test_a_server_that_closes_is_not_asked_any_further() -> None:
    async with session({"RCPT": "421 too busy", "DATA": ""}) as (open_session, _):
        with pytest.raises(SMTPRecipientRefused, match="too busy"):
            await open_session.begin(US, ADA)
        assert open_session.is_connected  # nothing was waited for in vain


@pytest.mark.parametrize("word", ["MAIL", "RCPT", "DATA"])
async def test_one_that_goes_without_a_word_is_said_to_be_gone(word: str) -> None:
    async with session({word: HANG_UP}) as (open_session, _):
        with pytest.raises(SMTPServerDisconnected):
            await open_session.begin(US, ADA)


async def test_a_word_that_was_not_asked_for_is_no_answer() -> None:
    async with session() as (open_session, script):
        await say(script, b"250 I feel like saying so\r\n")
        await until(lambda: bool(open_session._replies), within_seconds=10)
        with pytest.raises(SMTPServerDisconnected):
            await open_session.begin(US, ADA)
    assert script.heard == []


async def test_a_late_answer_is_never_taken_for_another() -> None:
    async with session({"MAIL": "", "RCPT": "", "DATA": ""}, patience=0.2) as (open_session, script):
        with pytest.raises(SMTPReadTimeoutError):
            await open_session.begin(US, ADA)
        assert not open_session.is_connected
        with pytest.raises(SMTPException):
            await open_session.begin(US, ADA)
        await asyncio.wait_for(script.is_over.wait(), 10)
    assert len(script.reads) <= 1


async def test_an_answer_may_come_in_pieces_and_have_several_lines() -> None:
    async with session({"RSET": ""}) as (open_session, script):
        asked = asyncio.create_task(open_session.reset())
        await until(lambda: "RSET" in script.heard, within_seconds=10)
        for piece in (b"2", b"50-one\r\n250", b"-two\r", b"\n250 three\r\n"):
            await say(script, piece)
            await asyncio.sleep(0)
        await asked
        assert open_session.is_connected


@pytest.mark.parametrize("words", [b"no number\r\n", b"250-" + b"x" * 40_000], ids=["no number", "without an end"])
async def test_what_is_no_answer_closes_the_connection(words: bytes) -> None:
    async with session({"RSET": ""}) as (open_session, script):
        asked = asyncio.create_task(open_session.reset())
        await until(lambda: "RSET" in script.heard, within_seconds=10)
        await say(script, words)
        with pytest.raises(SMTPServerDisconnected, match="none of SMTP"):
            await asked


@pytest.mark.parametrize("recipient", ["ada@example.org>\r\nRCPT TO:<all@example.org", "ada\x00@example.org"])
async def test_no_address_brings_a_command_of_its_own(recipient: str) -> None:
    async with session() as (open_session, script):
        with pytest.raises(ValueError, match="control character"):
            await open_session.begin(US, recipient)
    assert script.heard == []


@pytest.mark.parametrize("answer", ["250 queued as\rABC", "250 taken\r", "250-queued\r\r\n250 taken"])
async def test_a_return_within_an_answer_is_part_of_it(answer: str) -> None:
    async with session({".": answer}) as (open_session, script):
        for _ in range(2):
            await open_session.begin(US, ADA)
            assert (await finish(open_session)).code == 250
    assert len(script.mails) == 2


@pytest.mark.parametrize("is_with_the_system", [True, False])
async def test_of_a_mail_that_was_given_up_nothing_more_arrives(*, is_with_the_system: bool) -> None:
    async with session(patience=0.5) as (open_session, script):
        transport = open_session._transport
        await open_session.begin(US, ADA)
        script.may_read.clear()
        open_session.hand_over(MAIL + b"x" * 200_000 if is_with_the_system else LARGE_MAIL)
        assert (transport.get_write_buffer_size() == 0) is is_with_the_system
        with pytest.raises(SMTPReadTimeoutError):
            await open_session.answer()
        script.may_read.set()
        await asyncio.wait_for(script.is_over.wait(), 10)
    assert script.mails == []


async def test_one_that_hangs_up_along_with_its_answer_is_sent_no_mail() -> None:
    async with session({"DATA": f"354 go on\r\n{HANG_UP}"}) as (open_session, _):
        await open_session.begin(US, ADA)
        with pytest.raises(SMTPServerDisconnected):
            open_session.hand_over(MAIL)


async def test_a_server_that_answers_before_it_is_sent_the_mail_is_sent_none() -> None:
    async with session({"DATA": "354 go on\r\n250 noise"}) as (open_session, script):
        await open_session.begin(US, ADA)
        await until(lambda: bool(open_session._replies), within_seconds=10)
        with pytest.raises(SMTPServerDisconnected, match="unasked"):
            open_session.hand_over(MAIL)
        assert not open_session.is_connected
        await asyncio.wait_for(script.is_over.wait(), 10)
    assert len(script.reads) == 1


@pytest.mark.parametrize(
    ("words", "error"), [(b"250 noise\r\n", SMTPServerDisconnected), (b"552 too large\r\n", SMTPDataError)]
)
async def test_nothing_that_is_said_amid_a_mail_says_that_it_was_taken(
    words: bytes, error: type[SMTPException]
) -> None:
    async with session() as (open_session, script):
        await open_session.begin(US, ADA)
        script.may_read.clear()
        open_session.hand_over(LARGE_MAIL)
        await say(script, words)
        with pytest.raises(error):
            await open_session.answer()
        assert not open_session.is_connected
        script.may_read.set()
        await asyncio.wait_for(script.is_over.wait(), 10)
    assert script.mails == []


async def test_of_two_answers_to_a_mail_none_counts() -> None:
    async with session({".": "250 noise\r\n554 not this content"}) as (open_session, _):
        await open_session.begin(US, ADA)
        with pytest.raises(SMTPServerDisconnected, match="unasked"):
            await finish(open_session)
        assert not open_session.is_connected


async def test_a_mail_is_taken_by_a_server_that_takes_its_leave_then() -> None:
    async with session({".": "250 taken\r\n421 good night"}) as (open_session, _):
        await open_session.begin(US, ADA)
        assert (await finish(open_session)).message == "taken"


async def test_nobody_is_left_with_a_connection_that_nobody_waits_for() -> None:
    async with scripted(greeting="220 good day") as script:
        connections = Connections(Server("127.0.0.1", script.port), 1)
        async with connections.lend(asked=False):
            pass
        script.answers["RSET"] = ""

        async def borrow() -> None:
            async with connections.lend(asked=True):
                pass

        borrowing = asyncio.create_task(borrow())
        await until(lambda: "RSET" in script.heard, within_seconds=10)
        borrowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await borrowing
        await asyncio.wait_for(script.is_over.wait(), 10)
        await connections.close()
