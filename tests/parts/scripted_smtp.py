"""A mail server that says word for word what a test has it say, also what none should."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

TAKEN = {
    "EHLO": "250-mail.example.org\r\n250 PIPELINING", "MAIL": "250 go on", "RCPT": "250 go on", "DATA": "354 go on",
    ".": "250 taken", "RSET": "250 forgotten", "QUIT": "221 bye",
}  # fmt: skip
HANG_UP = "hang up"


class Script:
    """Answers by its script, and keeps what it heard: commands, whole mails, and each read by itself.

    An empty answer is none, and one that ends with ``HANG_UP`` the last. While ``may_read`` is not set, nothing more is
    taken, and next to nothing lies on this side.
    """

    def __init__(self, answers: Mapping[str, str], greeting: str = "") -> None:
        self.answers = {**TAKEN, **answers}
        self.port = 0
        self.heard: list[str] = []
        self.reads: list[bytes] = []
        self.mails: list[bytes] = []
        self.writer: asyncio.StreamWriter | None = None
        self.is_over = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._greeting = greeting

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.writer = writer
        writer.write(f"{self._greeting}\r\n".encode() if self._greeting else b"")
        try:
            await self._converse(reader, writer)
        except ConnectionResetError:
            pass  # it is closed with something unread
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
                word = "." if is_data else said.decode().partition(" ")[0].upper()
                (self.mails.append(said) if is_data else self.heard.append(said.decode()))
                answer = self.answers[word]
                if answer.endswith(HANG_UP):
                    writer.write(answer.removesuffix(HANG_UP).encode())
                    return
                is_data = answer.startswith("354")
                end = b"\r\n.\r\n" if is_data else b"\r\n"
                writer.write(answer.encode() + b"\r\n" if answer else b"")
            await self.may_read.wait()


@asynccontextmanager
async def scripted(answers: Mapping[str, str] | None = None, *, greeting: str = "") -> AsyncIterator[Script]:
    """Serve a script."""
    script = Script(answers or {}, greeting)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(script.serve, sock=listening, limit=1024)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        await server.wait_closed()
