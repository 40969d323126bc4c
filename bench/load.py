"""A load generator that costs little itself: HTTP/1.1 over plain asyncio streams, connections kept alive."""

import asyncio
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What a round gave: requests per second, and the latency of each request in seconds, sorted."""

    rate: float
    latencies: list[float]
    ended: float  # time.monotonic() of the last answer


async def post(
    port: int, token: str, path: str, body: bytes, *, clients: int, requests: int, status: int = 201
) -> Result:  # fmt: skip
    """Send so many POST requests from so many clients at once; every answer must have this status."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    left = iter(range(requests))
    latencies: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=16 * 1024 * 1024)
        for _ in left:
            began = time.perf_counter()
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 %d" % status):
                raise RuntimeError(answer.decode())
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Result(requests / (time.perf_counter() - began), sorted(latencies), time.monotonic())


def quantile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the sorted values lie."""
    return values[min(len(values) - 1, int(share * len(values)))]
