"""The ledger: every notice that was planned, and what became of it.

A delivery is leased before its first byte goes out and recorded after. Who holds a lease writes under its token alone;
times that decide are the server's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heliograph.errors import InvalidInputError, NotFoundError
from heliograph.ids import new_id
from heliograph.notices.documents import to_delivery, to_document
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import OPEN, Delivery, DeliveryStatus, Outcome, Policy
from heliograph.storage import Database, DuplicateError, encoded, insert_each
from heliograph.storage.errors import translated

LEASE = timedelta(seconds=90)
MOST_AGE = timedelta(hours=24)  # a notice that could not be sent for a day is no news any more
ATTEMPTS_KEPT = 50
MOST_REPLY = 500  # characters of a server's answer
CANDIDATES = 8  # looked at for one lease: the first are likely to be taken by the neighbours meanwhile
EXPIRED_BATCH = 100

_NOW = "$$NOW"
_IS_PLANNED = {"status": DeliveryStatus.PLANNED.value}
_IS_DUE = {**_IS_PLANNED, "due_at": {"$type": "date"}, "$expr": {"$lte": ["$due_at", _NOW]}}
_UNLEASE = {"$unset": ["lease", "sending_lane"]}


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this process may send now; ``tries`` counts how often it was tried before."""

    delivery: Delivery
    token: str
    tries: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of deliveries, the newest first, and the cursor of the next where there is one."""

    deliveries: tuple[Delivery, ...]
    next: str | None


class Ledger:
    """Stores deliveries, leases those that are due, and records what became of them."""

    def __init__(self, database: Database, *, lease: timedelta = LEASE, most_age: timedelta = MOST_AGE) -> None:
        self._database = database
        self._deliveries = database.collection(DELIVERIES)
        self._lease_milliseconds = _milliseconds(lease)
        self._most_age_milliseconds = _milliseconds(most_age)

    async def insert(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Store deliveries and return those that are new; one whose key exists stays as it is."""
        if not deliveries:
            return []
        outcomes = await insert_each(self._deliveries, [encoded(to_document(delivery)) for delivery in deliveries])
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, DuplicateError):
                raise outcome
        return [delivery for delivery, outcome in zip(deliveries, outcomes, strict=True) if outcome is None]

    async def lease(self, channels: Iterable[str]) -> Leased | None:
        """Take a due delivery of these channels, the longest due first; None where there is none.

        "Sending" is journaled when this returns. A delivery waits while an earlier one of its lane is open, however
        late that one is.
        """
        for candidate in await self._candidates(list(channels)):
            leased = await self._lease(candidate)
            if leased:
                return leased
        return None

    async def sent(self, leased: Leased, receipt: str) -> bool:
        """Record that the server took it. Returns whether the lease still held."""
        return await self._close(leased, DeliveryStatus.SENT, Outcome.SENT, receipt, receipt=receipt, sent_at=_NOW)

    async def refused(self, leased: Leased, reply: str) -> bool:
        """Record that it will never be taken. Returns whether the lease still held."""
        return await self._close(leased, DeliveryStatus.FAILED, Outcome.REFUSED, reply)

    async def postpone(self, leased: Leased, wait: timedelta, reply: str) -> bool:
        """Plan it again after ``wait``, or give it up where it would be too old by then.

        Returns whether the lease still held.
        """
        due_at = {"$add": [_NOW, _milliseconds(wait)]}
        too_old = {"$gt": [due_at, {"$add": ["$created_at", self._most_age_milliseconds]}]}
        status = {"$cond": [too_old, DeliveryStatus.FAILED.value, DeliveryStatus.PLANNED.value]}
        outcome = {"$cond": [too_old, Outcome.GIVEN_UP.value, Outcome.TRY_LATER.value]}
        return await self._record(leased, {"status": status, "due_at": due_at}, outcome, reply)

    async def unknown(self, leased: Leased, policy: Policy, wait: timedelta, reply: str) -> bool:
        """Record that it may or may not have arrived, and do as the policy says; ``wait`` is how long a repeat waits.

        Returns whether the lease still held.
        """
        return await self._record(leased, _after_unknown(policy, _milliseconds(wait)), Outcome.UNKNOWN.value, reply)

    async def expire(self, policies: Mapping[str, Policy]) -> int:
        """Take back deliveries whose sender is gone: their outcome is unknown, and the channel's policy decides.

        Only a lease no longer than our own unbroken connection is called expired: while the database was away for us
        it was away for its holder too, who may know that the delivery was sent and gets that long to record it.
        """
        ran_out = {"lease.until": {"$type": "date"}, "$expr": {"$lt": ["$lease.until", _NOW]}}
        with translated():
            candidates = await self._deliveries.find(ran_out).limit(EXPIRED_BATCH).to_list(EXPIRED_BATCH)
        if not candidates:
            return 0
        connected = _milliseconds(await self._database.confirm_connected())
        expired = {
            "lease.until": {"$type": "date"},
            "$expr": {"$and": [{"$lt": ["$lease.until", _NOW]}, {"$lte": ["$lease.ms", {"$literal": connected}]}]},
        }
        count = 0
        for document in candidates:
            policy = policies.get(document["channel"])
            if policy is None:
                continue  # a channel that only another notifier has; that one decides
            leased = Leased(to_delivery(document), document["lease"]["token"], document["tries"])
            fields = _after_unknown(policy, 0)
            count += await self._record(leased, fields, Outcome.UNKNOWN.value, "its sender was lost", also=expired)
        return count

    async def get(self, identifier: str) -> Delivery:
        """Return a delivery; ``NotFoundError`` where there is none."""
        with translated():
            found = await self._deliveries.find_one({"_id": identifier})
        if found is None:
            raise NotFoundError(f"there is no notice {identifier}")
        return to_delivery(found)

    async def of_job(self, job: str) -> list[Delivery]:
        """Return a job's deliveries in the order of its changes."""
        with translated():
            found = await self._deliveries.find({"job": job}).sort([("seq", 1), ("_id", 1)]).to_list(None)
        return [to_delivery(document) for document in found]

    async def page(self, *, status: DeliveryStatus | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        """Return a page of all deliveries, the newest first; its cursor is the id of the last one seen."""
        if cursor is not None and len(cursor) != len(new_id()):
            raise InvalidInputError.of("cursor", "this is not a cursor of this list")
        where: dict[str, Any] = {"status": status.value} if status else {}
        if cursor is not None:
            where["_id"] = {"$lt": cursor}
        with translated():
            found = await self._deliveries.find(where).sort("_id", -1).limit(limit + 1).to_list(limit + 1)
        deliveries = tuple(to_delivery(document) for document in found[:limit])
        return Page(deliveries, deliveries[-1].id if len(found) > limit else None)

    async def _candidates(self, channels: list[str]) -> list[str]:
        """Return due deliveries that are the first open one of their lane.

        The neighbours in the lane are looked up by the server, so that no number of waiting ones hides another lane.
        """
        earlier = {
            "from": DELIVERIES, "localField": "job", "foreignField": "job", "let": {"lane": "$lane", "seq": "$seq"},
            "pipeline": [
                {"$match": {
                    "status": {"$in": [status.value for status in OPEN]},
                    "$expr": {"$and": [{"$eq": ["$lane", "$$lane"]}, {"$lt": ["$seq", "$$seq"]}]},
                }},
                {"$limit": 1},
                {"$project": {"_id": 1}},
            ],
            "as": "earlier",
        }  # fmt: skip
        with translated():
            found = self._deliveries.aggregate([
                {"$match": {**_IS_DUE, "channel": {"$in": channels}}}, {"$sort": {"due_at": 1}},
                {"$lookup": earlier}, {"$match": {"earlier": []}},
                {"$limit": CANDIDATES}, {"$project": {"_id": 1}},
            ])  # fmt: skip
            return [document["_id"] async for document in found]

    async def _lease(self, identifier: str) -> Leased | None:
        token = new_id()
        until = {"$add": [_NOW, self._lease_milliseconds]}
        lease = {"token": {"$literal": token}, "ms": {"$literal": self._lease_milliseconds}, "until": until}
        fields = {"status": DeliveryStatus.SENDING.value, "sending_lane": "$lane", "lease": lease,
                  "tries": {"$add": ["$tries", 1]}}  # fmt: skip
        try:
            with translated():
                found = await self._deliveries.find_one_and_update(
                    {"_id": identifier, **_IS_DUE}, [{"$set": fields}], return_document=True
                )
        except DuplicateError:
            return None  # another one of its lane is being sent
        return Leased(to_delivery(found), token, found["tries"] - 1) if found else None

    async def _close(
        self, leased: Leased, status: DeliveryStatus, outcome: Outcome, reply: str, *,
        receipt: str | None = None, sent_at: str | None = None,
    ) -> bool:  # fmt: skip
        fields: dict[str, Any] = {"status": status.value}
        if receipt is not None:
            fields["receipt"] = {"$literal": _storable(receipt)}
        if sent_at is not None:
            fields["sent_at"] = sent_at
        return await self._record(leased, fields, outcome.value, reply)

    async def _record(
        self, leased: Leased, fields: Mapping[str, Any], outcome: Any, reply: str, *,
        also: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        attempt = {"at": _NOW, "outcome": outcome, "reply": {"$literal": _storable(reply)}}
        attempts = {"$slice": [{"$concatArrays": ["$attempts", [attempt]]}, -ATTEMPTS_KEPT]}
        where = {"_id": leased.delivery.id, "lease.token": leased.token, **(also or {})}
        with translated():
            result = await self._deliveries.update_one(where, [{"$set": {**fields, "attempts": attempts}}, _UNLEASE])
        return bool(result.matched_count)


def _after_unknown(policy: Policy, wait_milliseconds: int) -> dict[str, Any]:
    if policy is Policy.AT_MOST_ONCE:
        return {"status": DeliveryStatus.UNKNOWN.value}
    return {"status": DeliveryStatus.PLANNED.value, "due_at": {"$add": [_NOW, wait_milliseconds]}}


def _storable(words: str) -> str:
    """Return a server's words as the database takes them: they may have been any bytes, and any number of them."""
    return words.encode("utf-8", "replace").decode()[:MOST_REPLY]


def _milliseconds(length: timedelta) -> int:
    return int(length / timedelta(milliseconds=1))
