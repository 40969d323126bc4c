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
from heliograph.storage.errors import AWAY, DUPLICATE_KEY, DuplicateError, StoreUnavailableError, translated

MOST_DOCUMENT_BYTES = 12 * 1024 * 1024  # at 16 MB the server takes no further write to a document; leave it room
CHANGE_OF_STATE = "history.id"  # where a change of state leaves its id
MOST_LEVELS = 100  # the server refuses more than about 180, and then all of the batch
Encoded = RawBSONDocument  # a document as the server takes it
_TOO_LARGE = frozenset({10334, 17419, 17420})  # BSONObjectTooLarge, and what an update says that makes one


@dataclass(frozen=True, slots=True)
class Update:
    """A conditional update, encoded. ``change`` is an id that it leaves in the document, at ``trace``."""

    id: str
    filter: RawBSONDocument
    update: list[RawBSONDocument] | RawBSONDocument
    size: int
    change: str | None = None
    trace: str = CHANGE_OF_STATE


def encoded(document: Mapping[str, Any]) -> RawBSONDocument:
    """Encode a document now, so that one that cannot be written fails alone and before it joins a batch.

    Raises
    ------
    InvalidInputError
        It holds what the database cannot keep, or it is too large.
    """
    if not _is_flat_enough(document, MOST_LEVELS):
        raise InvalidInputError(f"this cannot be stored: it is nested deeper than {MOST_LEVELS} levels")
    return _encode(document)


def _encode(document: Mapping[str, Any]) -> RawBSONDocument:
    try:
        raw = bson.encode(document)
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidInputError(f"this cannot be stored: {error}") from error
    if len(raw) > MOST_DOCUMENT_BYTES:
        raise InvalidInputError(f"this is too large to be stored: {len(raw)} bytes of at most {MOST_DOCUMENT_BYTES}")
    return RawBSONDocument(raw)


def encoded_update(
    identifier: str, where: Mapping[str, Any], update: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    change: str | None = None, trace: str = CHANGE_OF_STATE,
) -> Update:  # fmt: skip
    """Encode an update (a pipeline or operators) for ``update_each``.

    How deep it is nested is not looked at: values of any depth are kept as JSON text.
    """
    condition = _encode(where)
    if isinstance(update, Mapping):
        single = _encode(update)
        return Update(identifier, condition, single, len(condition.raw) + len(single.raw), change, trace)
    stages = [stage if isinstance(stage, RawBSONDocument) else _encode(stage) for stage in update]
    size = len(condition.raw) + sum(len(stage.raw) for stage in stages)
    return Update(identifier, condition, stages, size, change, trace)


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
            outcomes[failure["index"]] = _failure(failure)
    return outcomes


async def update_each(collection: Collection, updates: Sequence[Update]) -> list[bool | Exception]:
    """Make conditional updates of different documents in one round trip; the outcome of each is whether it holds now.

    The server answers with a total only. Where that falls short of the batch, each is looked up: one that leaves an id
    by that, which also recognises what an earlier, unanswered try had made; any other by its own condition.
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
    holds = [{"_id": update.id, update.trace: update.change} if update.change else update.filter for update in updates]
    with translated():
        found = {document["_id"] async for document in collection.find({"$or": holds}, {"_id": 1})}
    return [failed.get(number, update.id in found) for number, update in enumerate(updates)]


def _failure(failure: Mapping[str, Any]) -> Exception:
    if failure["code"] == DUPLICATE_KEY:
        return DuplicateError.of(failure)
    if failure["code"] in AWAY:
        return StoreUnavailableError()
    if failure["code"] in _TOO_LARGE:
        return InvalidInputError("with this the stored document would become too large")
    return RuntimeError(failure["errmsg"])


def _is_flat_enough(value: Any, levels: int) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return True
    return levels > 0 and all(_is_flat_enough(item, levels - 1) for item in value)
