"""A mail server that takes everything and keeps nothing, for measuring senders: ``python -m bench.sink PORT``.

It is no more than a few comparisons a line, so that what is measured is who sends. With STARTTLS where a certificate
and its key are named besides; then it asks for a login and takes any.
"""

import asyncio
import ssl
import sys

_ANSWERS = {b"EHLO": b"250-sink\r\n", b"QUIT": b"221 bye\r\n", b"AUTH": b"235 welcome\r\n", b"DATA": b"354 go on\r\n"}


class Sink(asyncio.Protocol):
    """One connection."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._is_secure = False
        self._securing: asyncio.Task[None] | None = None
        self._buffer = bytearray()
        self._is_data = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._is_secure:
            transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._securing:
            end = self._buffer.find(b"\r\n.\r\n" if self._is_data else b"\r\n")
            if end < 0:
                return
            word = bytes(self._buffer[:4]).upper()
            del self._buffer[: end + (5 if self._is_data else 2)]
            self._answer(b"" if self._is_data else word)

    def _answer(self, word: bytes) -> None:
        assert self._transport
        answer = _ANSWERS.get(word, b"250 2.0.0 taken\r\n")
        if word == b"EHLO":
            more = (b"AUTH PLAIN" if self._is_secure else b"STARTTLS") if self._context else b"8BITMIME"
            answer += b"250-PIPELINING\r\n250-SMTPUTF8\r\n250 " + more + b"\r\n"
        self._is_data = word == b"DATA"
        if word == b"STAR":
            self._securing = asyncio.get_running_loop().create_task(self._secure())
            return
        self._transport.write(answer)
        if word == b"QUIT":
            self._transport.close()

    async def _secure(self) -> None:
        assert self._transport
        assert self._context
        self._transport.write(b"220 go on\r\n")
        self._is_secure = True
        secured = await asyncio.get_running_loop().start_tls(self._transport, self, self._context, server_side=True)
        assert isinstance(secured, asyncio.Transport)
        self._transport, self._securing = secured, None
        self.data_received(b"")  # what came while the transport was not ours yet


async def main(port: int, *certificate: str) -> None:
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = await asyncio.get_running_loop().create_server(lambda: Sink(context), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
