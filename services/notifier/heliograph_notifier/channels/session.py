"""One SMTP connection that is open and logged in, and the mails that go over it.

The library that opens it waits for an answer to each command. Here a mail takes two exchanges rather than four where
the server takes commands together (PIPELINING, RFC 2920), as nearly all do; half of what sending a mail took was that.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Sequence

from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPReadTimeoutError,
    SMTPRecipientRefused,
    SMTPResponse,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from typing_extensions import override

MOST_REPLY_BYTES = 32_768  # of one answer; a server that says more says nothing that we know
CLOSING = 421  # the server ends the connection, and answers nothing more
_GO_ON = 354
_ACCEPTED = ({250}, {250, 251}, {_GO_ON})  # answers to MAIL, RCPT and DATA by which a mail may go on


class Session(asyncio.Protocol):
    """Takes the place of the protocol that opened ``transport``.

    ``pipelines`` and ``takes_utf8`` are what the server said of itself; ``patience`` is how long each answer may take,
    in seconds.
    """

    def __init__(
        self, transport: asyncio.Transport, *, pipelines: bool, takes_utf8: bool, patience: float
    ) -> None:  # fmt: skip
        self._transport = transport
        self._pipelines = pipelines
        self.takes_utf8 = takes_utf8
        self._patience = patience
        self._received = bytearray()
        self._replies: deque[SMTPResponse] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._error: SMTPException | None = None  # why nothing more comes
        self._is_leaving = False  # a mail that was handed over may still be on its way out
        self._spoke_early = False  # before it had that mail
        transport.set_protocol(self)

    @property
    def is_connected(self) -> bool:
        """Whether anything can still be said."""
        return self._error is None and not self._transport.is_closing()

    async def begin(self, sender: str, recipient: str) -> None:
        """Have the server expect a mail; addresses beyond ASCII are for one that ``takes_utf8``.

        Raises
        ------
        SMTPResponseException
            The server refuses it. The connection is closed where it expects one all the same.
        SMTPException
            The connection is gone.
        """
        option = "" if recipient.isascii() else " SMTPUTF8"
        replies = await self._ask((f"MAIL FROM:<{sender}>{option}", f"RCPT TO:<{recipient}>", "DATA"))
        refused = next((number for number, reply in enumerate(replies) if reply.code not in _ACCEPTED[number]), None)
        if refused is None:
            await asyncio.sleep(0)  # one that hung up along with its answer is known to be gone then
            return
        if replies[-1].code == _GO_ON:
            self.close()
        code, words = replies[refused]
        raise (
            SMTPSenderRefused(code, words, sender),
            SMTPRecipientRefused(code, words, recipient),
            SMTPDataError(code, words),
        )[refused]

    def hand_over(self, message: bytes) -> None:
        """Begin to send the mail that the server expects, each line ended by CRLF.

        Raises
        ------
        SMTPServerDisconnected
            Nothing of it was sent: the connection is gone, or the server spoke unasked, and is left.
        """
        self._expect_silence()
        end = b".\r\n" if message.endswith(b"\r\n") else b"\r\n.\r\n"
        stuffed = b"." + message if message.startswith(b".") else message
        self._send(stuffed.replace(b"\r\n.", b"\r\n..") + end)
        self._is_leaving = True

    async def answer(self) -> SMTPResponse:
        """Return the server's answer to the mail that was handed over.

        Raises
        ------
        SMTPResponseException
            The server refuses it.
        SMTPException
            No answer came that is one to the whole mail: it may or may not have taken it.
        """
        reply = await self._reply()
        said_more = self._received or any(each.code != CLOSING for each in self._replies)
        if self._spoke_early or said_more:
            self.close()
        self._is_leaving = False
        if said_more or (self._spoke_early and reply.code == 250):  # which of it is the answer, if any, is not known
            raise SMTPServerDisconnected("the server spoke unasked")
        if reply.code != 250:
            raise SMTPDataError(*reply)
        return reply

    async def reset(self) -> None:
        """Ask whether the server still answers, and have it forget a mail that was begun."""
        (reply,) = await self._ask(("RSET",))
        if reply.code != 250:
            raise SMTPResponseException(*reply)

    async def quit(self, patience: float) -> None:
        """Take leave and close; ``patience`` is how many seconds the answer may take."""
        self._patience = patience
        await self._ask(("QUIT",))
        self.close()

    def close(self) -> None:
        """Close the connection at once; of what did not leave yet nothing ever will."""
        self._break(SMTPServerDisconnected("the connection is closed"))

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._is_leaving and self._transport.get_write_buffer_size():
            self._spoke_early = True
        try:
            while (end := _end_of_reply(self._received)) is not None:
                self._replies.append(_parsed(bytes(self._received[:end])))
                del self._received[:end]
            if len(self._received) > MOST_REPLY_BYTES:
                raise ValueError
        except ValueError:
            self._break(SMTPServerDisconnected("the server's answer is none of SMTP"))
        self._wake()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lose(SMTPServerDisconnected(str(exc) if exc else "Connection lost"))

    async def _ask(self, commands: Sequence[str]) -> list[SMTPResponse]:
        """Return the answers to commands, one at least; none follows one that ends the matter."""
        self._expect_silence()
        replies: list[SMTPResponse] = []
        if self._pipelines:
            self._send("".join(f"{_one_line(command)}\r\n" for command in commands).encode())
        for number, command in enumerate(commands):
            if not self._pipelines:
                self._send(f"{_one_line(command)}\r\n".encode())
            try:
                replies.append(await self._reply())
            except SMTPException:
                if all(reply.code in accepted for reply, accepted in zip(replies, _ACCEPTED, strict=False)):
                    raise
                break  # refused first, and then gone
            is_refused = replies[-1].code not in _ACCEPTED[number]
            if replies[-1].code == CLOSING or (is_refused and not self._pipelines):
                break
        return replies

    async def _reply(self) -> SMTPResponse:
        while not self._replies:
            if self._error is not None:
                raise self._error
            loop = asyncio.get_running_loop()
            self._waiting = loop.create_future()
            timer = loop.call_later(self._patience, self._give_up)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return self._replies.popleft()

    def _give_up(self) -> None:  # an answer that comes late would be taken for another
        self._break(SMTPReadTimeoutError("Timed out waiting for server response"))

    def _expect_silence(self) -> None:
        """Leave a server that spoke unasked, as one does that is about to hang up."""
        if self._received or self._replies:
            self._break(SMTPServerDisconnected("the server spoke unasked"))

    def _send(self, data: bytes) -> None:
        if not self.is_connected:
            raise self._error or SMTPServerDisconnected("Connection lost")
        self._transport.write(data)

    def _break(self, error: SMTPException) -> None:
        """Let nothing more leave: closed with patience, a connection would go on sending after it was given up."""
        self._lose(error)
        if self._is_leaving and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # no descriptor is free for it: then that is sent
                _forgo(self._transport.get_extra_info("socket"))
        self._transport.abort()

    def _lose(self, error: SMTPException) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _forgo(connected: socket.socket) -> None:
    """Have the system drop, on closing, what it took and did not send yet."""
    with socket.socket(fileno=os.dup(connected.fileno())) as same:  # for loops whose sockets take no options
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _one_line(command: str) -> str:
    if not command.isprintable():
        raise ValueError("a command holds a control character")
    return command


def _end_of_reply(received: bytearray) -> int | None:
    """Return where the first whole answer ends; its last line has no hyphen behind the code."""
    begin = 0
    while (end := received.find(b"\n", begin)) >= 0:
        if received[begin + 3 : begin + 4] != b"-":
            return end + 1
        begin = end + 1
    return None


def _parsed(reply: bytes) -> SMTPResponse:
    lines = [line.strip() for line in reply.removesuffix(b"\n").split(b"\n")]  # a CR within is one more letter
    words = b"\n".join(line[4:].strip() for line in lines)
    return SMTPResponse(int(lines[-1][:3]), words.decode("utf-8", "surrogateescape"))
