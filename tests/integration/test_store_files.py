"""Files and logs: what was stored is read back, what broke off leaves nothing."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heliograph.errors import BodyTooLargeError, NotFoundError
from heliograph.storage import Files
from tests.parts.jobs import Stores

CONTENT = bytes(range(256)) * 3000  # three chunks
LARGE = bytes(49_000_000)  # the driver keeps 48 MB before it stores the first chunk


@pytest.fixture
def files(stores: Stores) -> Files:
    return Files(stores.database, "artifacts")


async def stream(*parts: bytes, error: BaseException | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if error:
        raise error


async def pieces(stores: Stores) -> tuple[int, int]:
    return (
        await stores.database.collection("artifacts.files").count_documents({}),
        await stores.database.collection("artifacts.chunks").count_documents({}),
    )


async def read(files: Files, identifier: str) -> bytes:
    return b"".join([chunk async for chunk in files.read(identifier)])


async def test_what_was_stored_is_read_back(files: Files) -> None:
    stored = await files.put(
        stream(CONTENT[:100], CONTENT[100:]), name="plot.png", media_type="image/png", owner="ada", job="job-1"
    )
    assert (stored.name, stored.media_type, stored.owner, stored.job) == ("plot.png", "image/png", "ada", "job-1")
    assert (stored.bytes, stored.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert stored.created_at.utcoffset() == timedelta(0)
    assert await files.find(stored.id) == stored
    assert await read(files, stored.id) == CONTENT


async def test_an_open_file_is_stored(files: Files) -> None:
    stored = await files.put_file(io.BytesIO(CONTENT), name="plot.png", media_type="image/png", job="job-1")
    assert await read(files, stored.id) == CONTENT


async def test_an_empty_file_is_a_file(files: Files) -> None:
    stored = await files.put(stream(), name="empty", media_type="text/plain")
    assert (stored.bytes, await read(files, stored.id)) == (0, b"")


async def test_a_deleted_one_is_gone_and_may_be_deleted_again(files: Files, stores: Stores) -> None:
    stored = await files.put(stream(CONTENT), name="plot.png", media_type="image/png")
    for _ in range(2):
        await files.delete(stored.id)
    assert await pieces(stores) == (0, 0)
    with pytest.raises(NotFoundError):
        await files.find(stored.id)
    with pytest.raises(NotFoundError):
        await read(files, stored.id)


@pytest.mark.parametrize("identifier", ["", "no id", "6b023bd7faacd8d374818f34"])
async def test_an_unknown_one_is_not_found(files: Files, identifier: str) -> None:
    with pytest.raises(NotFoundError):
        await files.find(identifier)


async def test_one_that_is_too_large_leaves_nothing(files: Files, stores: Stores) -> None:
    with pytest.raises(BodyTooLargeError):
        await files.put(
            stream(LARGE, CONTENT), name="big", media_type="text/plain", most_bytes=len(LARGE) + 1
        )  # fmt: skip
    assert await pieces(stores) == (0, 0)
    await files.put(stream(CONTENT), name="fits", media_type="text/plain", most_bytes=len(CONTENT))


@pytest.mark.parametrize("error", [ConnectionResetError(), asyncio.CancelledError()], ids=["reset", "cancelled"])
async def test_a_stream_that_breaks_off_leaves_nothing(files: Files, stores: Stores, error: BaseException) -> None:
    with pytest.raises(type(error)):
        await files.put(stream(LARGE, error=error), name="broken", media_type="text/plain")
    assert await pieces(stores) == (0, 0)


async def test_old_ones_are_listed_with_their_jobs(files: Files) -> None:
    stored = await files.put(stream(CONTENT), name="plot.png", media_type="image/png", job="job-1")
    now = datetime.now(UTC)
    assert [batch async for batch in files.older_than(now - timedelta(hours=1))] == []
    assert [batch async for batch in files.older_than(now + timedelta(hours=1))] == [[(stored.id, "job-1")]]


async def test_what_a_killed_process_left_is_found_and_can_be_deleted(files: Files, stores: Stores) -> None:
    kept = await files.put(stream(CONTENT), name="plot.png", media_type="image/png")
    upload: Any = files._bucket.open_upload_stream("broken")
    await upload.write(LARGE)  # and the process dies here
    now = datetime.now(UTC)
    assert [file async for file in files.abandoned(now - timedelta(hours=1))] == []
    abandoned = [file async for file in files.abandoned(now + timedelta(hours=1))]
    assert abandoned == [str(upload._id)]
    await files.delete(abandoned[0])
    assert [file async for file in files.abandoned(now + timedelta(hours=1))] == []
    assert await read(files, kept.id) == CONTENT


async def log(stores: Stores, job: str, series: int = 1, attempt: int = 1) -> bytes:
    return b"".join([chunk.data async for chunk in stores.logs.read(job, series, attempt)])


async def test_a_log_is_read_in_order_however_it_arrived(stores: Stores) -> None:
    for n in (2, 0, 11, 1):
        await stores.logs.append("job-1", 1, 1, "token", n, f"{n} ".encode())
    assert await log(stores, "job-1") == b"0 1 2 11 "


async def test_the_same_chunk_twice_is_one(stores: Stores) -> None:
    await asyncio.gather(*(stores.logs.append("job-1", 1, 1, "token", 0, b"once") for _ in range(5)))
    assert await log(stores, "job-1") == b"once"


async def test_attempts_do_not_mix(stores: Stores) -> None:
    for series, attempt in ((1, 1), (1, 2), (2, 1)):
        token = f"token {series} {attempt}"
        await stores.logs.append("job-1", series, attempt, token, 0, token.encode())
    assert await log(stores, "job-1", 1, 2) == b"token 1 2"
    assert await log(stores, "job-1", 2, 1) == b"token 2 1"
