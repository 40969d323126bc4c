"""Batches of writes with an outcome for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from heliograph.errors import InvalidInputError
from heliograph.storage.database import Collection
from heliograph.storage.errors import DUPLICATE_KEY, DuplicateError, StoreUnavailableError, translated

MOST_DOCUMENT_BYTES = 12 * 1024 * 1024  # at 16 MB the server takes no further write to a document; leave it room


@dataclass(frozen=True, slots=True)
class Update:
    """A conditional update, encoded. ``change`` is the id that a change of state leaves in the history."""

    id: str
    filter: RawBSONDocument
    update: list[RawBSONDocument] | RawBSONDocument
    size: int
    change: str | None = None


def encoded(document: Mapping[str, Any]) -> RawBSONDocument:
    """Encode a document now, so that one that cannot be written fails alone and before it joins a batch.

    Raises
    ------
    InvalidInputError
        It holds what the database cannot keep, or it is too large.
    """
    try:
        raw = bson.encode(document)
    except (BSONError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidInputError(f"this cannot be stored: {error}") from error
    if len(raw) > MOST_DOCUMENT_BYTES:
        raise InvalidInputError(f"this is too large to be stored: {len(raw)} bytes of at most {MOST_DOCUMENT_BYTES}")
    return RawBSONDocument(raw)


def encoded_update(
    identifier: str, where: Mapping[str, Any], update: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    change: str | None = None,
) -> Update:  # fmt: skip
    """Encode an update (a pipeline or operators) for ``update_each``."""
    condition = encoded(where)
    if isinstance(update, Mapping):
        single = encoded(update)
        return Update(identifier, condition, single, len(condition.raw) + len(single.raw), change)
    stages = [encoded(stage) for stage in update]
    return Update(identifier, condition, stages, len(condition.raw) + sum(len(stage.raw) for stage in stages), change)


async def insert_each(collection: Collection, documents: Sequence[RawBSONDocument]) -> list[Exception | None]:
    """Insert documents in one round trip; the outcome of each is None or a ``DuplicateError``."""
    outcomes: list[Exception | None] = [None] * len(documents)
    try:
        with translated():
            await collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        details = error.details
        if details.get("writeConcernErrors"):
            raise StoreUnavailableError from error
        for failure in details["writeErrors"]:
            outcomes[failure["index"]] = (
                DuplicateError.of(failure) if failure["code"] == DUPLICATE_KEY else RuntimeError(failure["errmsg"])
            )
    return outcomes


async def update_each(collection: Collection, updates: Sequence[Update]) -> list[bool | Exception]:
    """Make conditional updates in one round trip; the outcome of each is whether it holds now.

    The server answers with a total only. Where that falls short of the batch, those that carry a change id are looked
    up by it, which also recognises one that an earlier, unanswered try had made; the others count as not made.
    """
    operations: list[Any] = [UpdateOne(update.filter, update.update) for update in updates]
    failed: dict[int, Exception] = {}
    try:
        with translated():
            matched = (await collection.bulk_write(operations, ordered=False)).matched_count
    except BulkWriteError as error:
        if error.details.get("writeConcernErrors"):
            raise StoreUnavailableError from error
        matched = -1
        failed = {failure["index"]: _failure(failure) for failure in error.details["writeErrors"]}
    if matched == len(updates):
        return [True] * len(updates)
    changes = [update.change for update in updates if update.change]
    made: set[str] = set()
    if changes:
        where = {"_id": {"$in": [update.id for update in updates]}, "history.id": {"$in": changes}}
        with translated():
            async for document in collection.find(where, {"history.id": 1}):
                made.update(entry["id"] for entry in document["history"])
    return [failed.get(number, update.change in made) for number, update in enumerate(updates)]


def _failure(failure: Mapping[str, Any]) -> Exception:
    if failure["code"] == DUPLICATE_KEY:
        return DuplicateError.of(failure)
    return RuntimeError(failure["errmsg"])
