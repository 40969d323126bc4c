"""Files in GridFS: what jobs make and what people upload."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from bson import ObjectId
from bson.errors import InvalidId
from gridfs.errors import NoFile
from motor.motor_asyncio import AsyncIOMotorGridFSBucket
from pymongo.errors import PyMongoError

from heliograph.errors import BodyTooLargeError, NotFoundError
from heliograph.storage.database import Database
from heliograph.storage.errors import translated

CHUNK_BYTES = 255 * 1024  # GridFS's own default
_BATCH = 500


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file: its id, size in bytes, SHA-256 (hex), and what was said of it when it was stored."""

    id: str
    name: str
    media_type: str
    bytes: int
    sha256: str
    owner: str | None
    job: str | None
    created_at: datetime


class Files:
    """A bucket of files. A file counts only once a job or a person refers to its id; what nobody refers to is swept."""

    def __init__(self, database: Database, bucket: str) -> None:
        self._bucket: Any = AsyncIOMotorGridFSBucket(database.raw, bucket_name=bucket)
        self._files = database.collection(f"{bucket}.files")
        self._chunks = database.collection(f"{bucket}.chunks")

    async def put(
        self, chunks: AsyncIterator[bytes], *, name: str, media_type: str, owner: str | None = None,
        job: str | None = None, most_bytes: int | None = None,
    ) -> StoredFile:  # fmt: skip
        """Store a stream and return what was stored; a stream that breaks off or grows too large leaves nothing."""
        digest, size = hashlib.sha256(), 0
        with translated():
            stream = self._bucket.open_upload_stream(
                name, metadata={"media_type": media_type, "owner": owner, "job": job, "complete": False}
            )
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if most_bytes is not None and size > most_bytes:
                        raise BodyTooLargeError(f"the file is larger than {most_bytes} bytes")
                    digest.update(chunk)
                    await stream.write(chunk)
                await stream.close()
            except BaseException:
                with contextlib.suppress(PyMongoError):  # what could not be removed is found by `abandoned`
                    await stream.abort()
                raise
            await self._files.update_one(
                {"_id": stream._id},  # noqa: SLF001 - motor's only name for the id
                {"$set": {"metadata.sha256": digest.hexdigest(), "metadata.complete": True}},
            )
        return await self.find(str(stream._id))  # noqa: SLF001 - as above

    async def put_file(self, source: BinaryIO, *, name: str, media_type: str, job: str | None = None) -> StoredFile:
        """Store an open local file."""

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk

        return await self.put(chunks(), name=name, media_type=media_type, job=job)

    async def find(self, identifier: str) -> StoredFile:
        """Return what is known of a file; ``NotFoundError`` where there is none that is complete."""
        with translated():
            found = await self._files.find_one({"_id": _object_id(identifier), "metadata.complete": True})
        if found is None:
            raise NotFoundError(f"there is no file {identifier}")
        about = found["metadata"]
        return StoredFile(
            identifier, found["filename"], about["media_type"], found["length"], about["sha256"], about["owner"],
            about["job"], found["uploadDate"],
        )  # fmt: skip

    async def read(self, identifier: str) -> AsyncIterator[bytes]:
        """Yield a file's content in chunks."""
        with translated():
            try:
                stream = await self._bucket.open_download_stream(_object_id(identifier))
            except NoFile as error:
                raise NotFoundError(f"there is no file {identifier}") from error
            while chunk := await stream.readchunk():
                yield chunk

    async def delete(self, identifier: str) -> None:
        """Delete a file; one that is gone already is fine."""
        with translated():
            try:
                await self._bucket.delete(_object_id(identifier))
            except NoFile:
                return

    async def older_than(self, moment: datetime) -> AsyncIterator[list[tuple[str, str | None]]]:
        """Yield files stored before ``moment``, in batches: each file's id and the job it was stored for."""
        batch: list[tuple[str, str | None]] = []
        with translated():
            async for found in self._files.find({"uploadDate": {"$lt": moment}}, {"metadata.job": 1}):
                batch.append((str(found["_id"]), found["metadata"]["job"]))
                if len(batch) == _BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch

    async def abandoned(self, moment: datetime) -> AsyncIterator[str]:
        """Yield the ids of files begun before ``moment`` whose process died before the end: pieces, but no file."""
        with translated():
            pieces = self._chunks.aggregate([
                {"$match": {"files_id": {"$lt": ObjectId.from_datetime(moment)}}},
                {"$sort": {"files_id": 1, "n": 1}},
                {"$group": {"_id": "$files_id"}},  # with the sort, one look at the index for each file
                {"$lookup": {"from": self._files.name, "localField": "_id", "foreignField": "_id", "as": "file"}},
                {"$match": {"file": []}},
            ])  # fmt: skip
            async for piece in pieces:
                yield str(piece["_id"])


def _object_id(identifier: str) -> ObjectId:
    try:
        return ObjectId(identifier)
    except InvalidId as error:
        raise NotFoundError(f"there is no file {identifier}") from error
