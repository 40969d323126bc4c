"""A mail over one connection: which exchanges it takes, and what is left of the connection when the server says no."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from heliograph_notifier.channels.session import Session
from tests.parts.waiting import until

ADA = "ada@example.org"
US = "heliograph@example.org"
MAIL = b"Subject: Sunspots\r\n\r\nThe plot is ready.\r\n"
TAKEN = {"MAIL": "250 go on", "RCPT": "250 go on", "DATA": "354 go on", ".": "250 taken", "RSET": "250 forgotten"}
HANG_UP = "hang up"


class Script:
    """A server that answers by its script, and keeps what it heard: commands, whole mails, and each read by itself."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = {**TAKEN, **answers}
        self.heard: list[str] = []
        self.reads: list[bytes] = []
        self.mails: list[bytes] = []
        self.writer: asyncio.StreamWriter | None = None
        self.is_over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()
            self.is_over.set()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received, is_data = b"", False
        while data := await reader.read(65_536):
            self.reads.append(data)
            received += data
            end = b"\r\n.\r\n" if is_data else b"\r\n"
            while end in received:
                said, _, received = received.partition(end)
                word = "." if is_data else said.decode().partition(" ")[0]
                (self.mails.append(said) if is_data else self.heard.append(said.decode()))
                answer = self.answers[word]
                if answer == HANG_UP:
                    return
                is_data = answer.startswith("354")
                end = b"\r\n.\r\n" if is_data else b"\r\n"
                writer.write(answer.encode() + b"\r\n" if answer else b"")


@asynccontextmanager
async def session(
    answers: Mapping[str, str] | None = None, *, pipelines: bool = True, patience: float = 20
) -> AsyncIterator[tuple[Session, Script]]:
    script = Script(answers or {})
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
    opened = Session(transport, pipelines=pipelines, takes_utf8=True, patience=patience)
    try:
        await until(lambda: script.writer is not None, within_seconds=10)
        yield opened, script
    finally:
        opened.close()
        await asyncio.wait_for(script.is_over.wait(), 10)
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("pipelines", [True, False])
async def test_a_mail_is_taken_and_the_next_one_goes_over_the_same_connection(*, pipelines: bool) -> None:
    async with session(pipelines=pipelines) as (open_session, script):
        for _ in range(2):
            await open_session.begin(US, ADA)
            assert (await open_session.finish(MAIL)).message == "taken"
        assert open_session.is_connected
    assert script.heard == [f"MAIL FROM:<{US}>", f"RCPT TO:<{ADA}>", "DATA"] * 2
    assert script.mails == [MAIL.removesuffix(b"\r\n")] * 2


@pytest.mark.parametrize(("pipelines", "exchanges"), [(True, 2), (False, 4)])
async def test_commands_travel_together_where_the_server_takes_them(*, pipelines: bool, exchanges: int) -> None:
    async with session(pipelines=pipelines) as (open_session, script):
        await open_session.begin(US, ADA)
        await open_session.finish(MAIL)
    assert len(script.reads) == exchanges


async def test_no_line_of_a_mail_ends_it_early() -> None:
    text = b".\r\nMAIL FROM:<x>\r\n.\r\n..\r\nno end of line"
    async with session() as (open_session, script):
        await open_session.begin(US, ADA)
        await open_session.finish(text)
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
        assert (await open_session.finish(MAIL)).code == 250
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
        assert script.writer
        script.writer.write(b"250 I feel like saying so\r\n")
        await script.writer.drain()
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
        assert script.writer
        for piece in (b"2", b"50-one\r\n250", b"-two\r", b"\n250 three\r\n"):
            script.writer.write(piece)
            await script.writer.drain()
            await asyncio.sleep(0)
        await asked
        assert open_session.is_connected


@pytest.mark.parametrize("words", [b"no number\r\n", b"250-" + b"x" * 40_000], ids=["no number", "without an end"])
async def test_what_is_no_answer_closes_the_connection(words: bytes) -> None:
    async with session({"RSET": ""}) as (open_session, script):
        asked = asyncio.create_task(open_session.reset())
        await until(lambda: "RSET" in script.heard, within_seconds=10)
        assert script.writer
        script.writer.write(words)
        with pytest.raises(SMTPServerDisconnected, match="none of SMTP"):
            await asked


@pytest.mark.parametrize("recipient", ["ada@example.org>\r\nRCPT TO:<all@example.org", "ada\x00@example.org"])
async def test_no_address_brings_a_command_of_its_own(recipient: str) -> None:
    async with session() as (open_session, script):
        with pytest.raises(ValueError, match="control character"):
            await open_session.begin(US, recipient)
    assert script.heard == []
