"""The ledger: every notice that was planned, and what became of it.

A delivery is leased before its first byte goes out and recorded after. Who holds a lease writes under its token alone;
times that decide are the server's. What several senders record at the same time travels in one write.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from heliograph.errors import ConflictError, InvalidInputError, NotFoundError
from heliograph.ids import new_id
from heliograph.notices.documents import to_delivery, to_document
from heliograph.notices.indexes import DELIVERIES
from heliograph.notices.model import OPEN, Delivery, DeliveryStatus, Outcome, Policy, Subject
from heliograph.storage import (
    Batcher,
    Database,
    Document,
    DuplicateError,
    Encoded,
    Update,
    encoded,
    encoded_update,
    insert_each,
    update_each,
)
from heliograph.storage.errors import translated

LEASE = timedelta(seconds=90)
RETENTION = timedelta(days=90)
MOST_AGE = timedelta(hours=24)  # a notice that could not be sent for a day is no news any more
ATTEMPTS_KEPT = 50
MOST_REPLY = 500  # characters of a server's answer
RECORDING_SECONDS = 0.02  # between two writes of outcomes while many are sent; measured: saves a tenth of all work
LEASE_TRIES = 3  # where other notifiers took all that was seen
EXPIRED_BATCH = 100

_NOW = "$$NOW"
_IS_PLANNED = {"status": DeliveryStatus.PLANNED.value}
_IS_DUE = {**_IS_PLANNED, "due_at": {"$type": "date"}, "$expr": {"$lte": ["$due_at", _NOW]}}
_UNLEASE = encoded({"$unset": ["lease", "sending_lane"]})
_TRACE = "recorded_under"  # the token under which the last outcome was recorded: it recognises a repeated write


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this process may send now.

    ``tries`` counts how often it was tried before. At ``until``, by this process's monotonic clock, others may take it.
    """

    delivery: Delivery
    token: str
    tries: int
    until: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page of deliveries, the newest first, and the cursor of the next where there is one."""

    deliveries: tuple[Delivery, ...]
    next: str | None


class Ledger:
    """Stores deliveries, leases those that are due, and records what became of them."""

    def __init__(
        self, database: Database, *, lease: timedelta = LEASE, most_age: timedelta = MOST_AGE,
        retention: timedelta = RETENTION,
    ) -> None:  # fmt: skip
        self._database = database
        self._deliveries = database.collection(DELIVERIES)
        self._records: Batcher[Update, bool] = Batcher(
            partial(update_each, self._deliveries), pace_seconds=RECORDING_SECONDS
        )
        self._lease = lease
        self._lease_milliseconds = _milliseconds(lease)
        self._most_age_milliseconds = _milliseconds(most_age)
        self._retention = retention

    async def insert(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Store deliveries and return those that are new; one whose key exists stays as it is."""
        if not deliveries:
            return []
        outcomes = await insert_each(self._deliveries, [self._encoded(delivery) for delivery in deliveries])
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, DuplicateError):
                raise outcome
        return [delivery for delivery, outcome in zip(deliveries, outcomes, strict=True) if outcome is None]

    async def lease(self, channel: str, most: int = 1) -> list[Leased]:
        """Take up to ``most`` due deliveries of a channel, the longest due first.

        "Sending" is journaled when this returns. A delivery waits while an earlier one of its lane is open, however
        late that one is. Where other notifiers take the same at this moment, there may be fewer than are due.
        """
        for _ in range(LEASE_TRIES):
            candidates = await self._first_of_lanes(channel, most) or await self._candidates(channel, most)
            if not candidates:
                break
            if leased := await self._take(candidates):
                return leased
        return []

    async def release(self, leased: Leased) -> bool:
        """Give back what was leased and not begun. Returns whether the lease still held."""
        fields = {"status": DeliveryStatus.PLANNED.value, "tries": leased.tries}
        return await self._record(leased, fields)

    async def put_off(self, leased: Leased, until: datetime) -> bool:
        """Plan what was leased and not begun for a later moment, as if it had been planned so from the first.

        Returns whether the lease still held.
        """
        fields = {
            "status": DeliveryStatus.PLANNED.value, "tries": leased.tries, "due_at": until, "first_due_at": until
        }  # fmt: skip
        return await self._record(leased, fields)

    async def sent(self, leased: Leased, receipt: str) -> bool:
        """Record that the server took it. Returns whether the lease still held."""
        return await self._close(leased, DeliveryStatus.SENT, Outcome.SENT, receipt, receipt=receipt, sent_at=_NOW)

    async def suppress(self, leased: Leased, reason: str) -> bool:
        """Record that a rule decided against it after all. Returns whether the lease still held."""
        fields = {"status": DeliveryStatus.SUPPRESSED.value, "reason": {"$literal": reason}, "tries": leased.tries}
        return await self._record(leased, fields)

    async def refused(self, leased: Leased, reply: str) -> bool:
        """Record that it will never be taken. Returns whether the lease still held."""
        return await self._close(leased, DeliveryStatus.FAILED, Outcome.REFUSED, reply)

    async def postpone(self, leased: Leased, wait: timedelta, reply: str) -> bool:
        """Plan it again after ``wait``, or give it up where it would be too old by then.

        Returns whether the lease still held.
        """
        due_at = {"$add": [_NOW, _milliseconds(wait)]}
        too_old = {"$gt": [due_at, {"$add": ["$first_due_at", self._most_age_milliseconds]}]}
        status = {"$cond": [too_old, DeliveryStatus.FAILED.value, DeliveryStatus.PLANNED.value]}
        outcome = {"$cond": [too_old, Outcome.GIVEN_UP.value, Outcome.TRY_LATER.value]}
        return await self._record(leased, {"status": status, "due_at": due_at, **_attempted(outcome, reply)})

    async def unknown(self, leased: Leased, policy: Policy, wait: timedelta, reply: str) -> bool:
        """Record that it may or may not have arrived, and do as the policy says; ``wait`` is how long a repeat waits.

        Returns whether the lease still held.
        """
        fields = _after_unknown(policy, _milliseconds(wait)) | _attempted(Outcome.UNKNOWN.value, reply)
        return await self._record(leased, fields)

    async def expire(self, policy_for: Callable[[Delivery], Policy | None]) -> int:
        """Take back deliveries whose sender is gone: their outcome is unknown, and the policy for each decides.

        Only a lease no longer than our own unbroken connection is called expired: while the database was away for us
        it was away for its holder too, who may know that the delivery was sent and gets that long to record it.
        """
        ran_out = {"lease.until": {"$type": "date"}, "$expr": {"$lt": ["$lease.until", _NOW]}}
        with translated():
            candidates = await self._deliveries.find(ran_out).limit(EXPIRED_BATCH).to_list(EXPIRED_BATCH)
        if not candidates:
            return 0
        connected = _milliseconds(await self._database.confirm_connected())
        count = 0
        for document in candidates:
            policy = policy_for(to_delivery(document))
            if policy is None:
                continue  # a channel that only another notifier has; that one decides
            where = {
                "_id": document["_id"], "lease.token": document["lease"]["token"], "lease.until": {"$type": "date"},
                "$expr": {"$and": [{"$lt": ["$lease.until", _NOW]}, {"$lte": ["$lease.ms", {"$literal": connected}]}]},
            }  # fmt: skip
            fields = _after_unknown(policy, 0) | _attempted(Outcome.UNKNOWN.value, "its sender was lost")
            with translated():
                result = await self._deliveries.update_one(where, [{"$set": fields}, _UNLEASE])
            count += result.matched_count
        return count

    async def resend(self, identifier: str, by: str) -> Delivery:
        """Plan a settled delivery once more, as a copy that is due at once, and return that.

        The copy is kept for as long as the delivery is: not every ledger's own ``retention`` is the notifiers'.

        Raises
        ------
        NotFoundError
            There is none.
        ConflictError
            It, or a copy of it, is still to be sent; or it has no recipient.
        """
        known = await self.get(identifier)
        if not known.recipient or known.channel == "contacts":  # whom the token, or the directory, does not name
            raise ConflictError("it names nobody who could be told")
        same = {
            "subject": str(known.subject), "occasion": known.occasion.value, "series": known.series,
            "recipient": known.recipient, "channel": known.channel,
        }  # fmt: skip
        with translated():
            copies = (
                await self._deliveries.find(same, {"copy": 1, "status": 1, "due_at": 1}).sort("copy", -1).to_list(None)
            )
        if due := [each["due_at"] for each in copies if each["status"] in OPEN]:
            raise ConflictError(f"this notice is still to be sent, at {max(due):%Y-%m-%d %H:%M:%S} UTC")
        now = await self._database.now()
        copy = replace(
            known, id=new_id(), copy=copies[0]["copy"] + 1, status=DeliveryStatus.PLANNED,
            reason=f"resent: asked for by {by}", created_at=now, due_at=now, attempts=(), receipt=None, sent_at=None,
            interval_seconds=None,
        )  # fmt: skip
        [outcome] = await insert_each(self._deliveries, [self._encoded(copy, await self._retention_of(identifier))])
        if isinstance(outcome, DuplicateError):
            raise ConflictError("somebody else asked for the same at this moment")
        if outcome is not None:
            raise outcome
        return copy

    async def get(self, identifier: str) -> Delivery:
        """Return a delivery; ``NotFoundError`` where there is none."""
        with translated():
            found = await self._deliveries.find_one({"_id": identifier})
        if found is None:
            raise NotFoundError(f"there is no notice {identifier}")
        return to_delivery(found)

    async def of_subject(self, subject: Subject) -> list[Delivery]:
        """Return the deliveries about a job, a campaign, an incident or a test, in the order of its changes."""
        with translated():
            found = await self._deliveries.find({"subject": str(subject)}).sort([("seq", 1), ("_id", 1)]).to_list(None)
        return [to_delivery(document) for document in found]

    async def of_job(self, job: str) -> list[Delivery]:
        """Return a job's deliveries in the order of its changes."""
        return await self.of_subject(Subject.of_job(job))

    async def page(
        self, *, status: DeliveryStatus | None = None, channel: str | None = None, recipient: str | None = None,
        subjects: Collection[Subject] | None = None, limit: int = 50, cursor: str | None = None,
    ) -> Page:  # fmt: skip
        """Return a page of the deliveries that fit, the newest first; its cursor is the id of the last one seen."""
        if cursor is not None and len(cursor) != len(new_id()):
            raise InvalidInputError.of("cursor", "this is not a cursor of this list")
        asked = {"status": status, "channel": channel, "recipient": recipient}
        where: dict[str, Any] = {name: str(value) for name, value in asked.items() if value is not None}
        if subjects is not None:
            where["subject"] = {"$in": [str(subject) for subject in subjects]}
        if cursor is not None:
            where["_id"] = {"$lt": cursor}
        with translated():
            found = await self._deliveries.find(where).sort("_id", -1).limit(limit + 1).to_list(limit + 1)
        deliveries = tuple(to_delivery(document) for document in found[:limit])
        return Page(deliveries, deliveries[-1].id if len(found) > limit else None)

    async def _retention_of(self, identifier: str) -> timedelta:
        """Return for how long a delivery is kept after it was due."""
        with translated():
            found = await self._deliveries.find_one({"_id": identifier}, {"expires_at": 1, "first_due_at": 1})
        return found["expires_at"] - found["first_due_at"] if found else self._retention

    def _encoded(self, delivery: Delivery, retention: timedelta | None = None) -> Encoded:
        return encoded(to_document(delivery) | {"expires_at": delivery.due_at + (retention or self._retention)})

    async def _first_of_lanes(self, channel: str, most: int) -> list[Document]:
        """Return due deliveries that are the first open one of their lane, among those that are due longest.

        Two plain reads, which for what is usual take a fifth of the time of ``_candidates``.
        """
        with translated():
            due = await self._deliveries.find({**_IS_DUE, "channel": channel}).sort("due_at", 1).to_list(most)
            subjects = list({document["subject"] for document in due})
            among = {"subject": {"$in": subjects}, "channel": channel, "status": {"$in": list(OPEN)}}
            lanes = self._deliveries.find(among, {"lane": 1, "seq": 1, "status": 1}) if due else None
            neighbours = await lanes.to_list(None) if lanes is not None else []
        first: dict[str, tuple[bool, int, str]] = {}
        for each in neighbours:
            rank = each["status"] != DeliveryStatus.SENDING, each["seq"], each["_id"]
            first[each["lane"]] = min(rank, first.get(each["lane"], rank))
        return [document for document in due if first.get(document["lane"], (False, 0, ""))[2] == document["_id"]]

    async def _candidates(self, channel: str, most: int) -> list[Document]:
        """Return due deliveries that are the first open one of their lane, however many others are due before them.

        The neighbours in the lane are looked up by the server, so that no number of waiting ones hides another lane.
        """
        is_before = {
            "$or": [{"$lt": ["$seq", "$$seq"]}, {"$and": [{"$eq": ["$seq", "$$seq"]}, {"$lt": ["$_id", "$$id"]}]}]
        }
        is_sending = {"$eq": ["$status", DeliveryStatus.SENDING.value]}
        earlier = {
            "from": DELIVERIES, "localField": "subject", "foreignField": "subject",
            "let": {"lane": "$lane", "seq": "$seq", "id": "$_id"},
            "pipeline": [
                {"$match": {
                    "status": {"$in": [status.value for status in OPEN]},
                    "$expr": {"$and": [{"$eq": ["$lane", "$$lane"]}, {"$or": [is_before, is_sending]}]},
                }},
                {"$limit": 1},
                {"$project": {"_id": 1}},
            ],
            "as": "earlier",
        }  # fmt: skip
        with translated():
            found = self._deliveries.aggregate([
                {"$match": {**_IS_DUE, "channel": channel}}, {"$sort": {"due_at": 1}},
                {"$lookup": earlier}, {"$match": {"earlier": []}}, {"$limit": most},
            ])  # fmt: skip
            return [document async for document in found]

    async def _take(self, candidates: Sequence[Document]) -> list[Leased]:
        """Lease those of the candidates that nobody else took meanwhile."""
        token, until = new_id(), time.monotonic() + self._lease.total_seconds()
        lease = {
            "token": {"$literal": token}, "ms": {"$literal": self._lease_milliseconds},
            "until": {"$add": [_NOW, self._lease_milliseconds]},
        }  # fmt: skip
        fields = {"status": DeliveryStatus.SENDING.value, "sending_lane": "$lane", "lease": lease,
                  "tries": {"$add": ["$tries", 1]}}  # fmt: skip
        where = {"_id": {"$in": [document["_id"] for document in candidates]}}
        taken = 0
        # Where one of a lane went out this very moment, the update ends; what came before it in the batch is ours.
        with contextlib.suppress(DuplicateError), translated():
            taken = (await self._deliveries.update_many(where | _IS_DUE, [{"$set": fields}])).matched_count
        if taken < len(candidates):
            with translated():
                candidates = await self._deliveries.find(where | {"lease.token": token}).to_list(None)
            return [Leased(to_delivery(document), token, document["tries"] - 1, until) for document in candidates]
        sending = {"status": DeliveryStatus.SENDING.value}
        return [Leased(to_delivery(document | sending), token, document["tries"], until) for document in candidates]

    async def _close(
        self, leased: Leased, status: DeliveryStatus, outcome: Outcome, reply: str, *,
        receipt: str | None = None, sent_at: str | None = None,
    ) -> bool:  # fmt: skip
        fields: dict[str, Any] = {"status": status.value}
        if receipt is not None:
            fields["receipt"] = {"$literal": _storable(receipt)}
        if sent_at is not None:
            fields["sent_at"] = sent_at
        return await self._record(leased, fields | _attempted(outcome.value, reply))

    async def _record(self, leased: Leased, fields: Mapping[str, Any]) -> bool:
        """Write under the lease's token and end the lease. Repeating it is harmless."""
        traced = {**fields, _TRACE: leased.token}
        update = encoded_update(
            leased.delivery.id, {"_id": leased.delivery.id, "lease.token": leased.token}, [{"$set": traced}, _UNLEASE],
            change=leased.token, trace=_TRACE,
        )  # fmt: skip
        return await self._records.submit(update.id, update, update.size)


def _attempted(outcome: Any, reply: str) -> dict[str, Any]:
    attempt = {"at": _NOW, "outcome": outcome, "reply": {"$literal": _storable(reply)}}
    return {"attempts": {"$slice": [{"$concatArrays": ["$attempts", [attempt]]}, -ATTEMPTS_KEPT]}}


def _after_unknown(policy: Policy, wait_milliseconds: int) -> dict[str, Any]:
    if policy is Policy.AT_MOST_ONCE:
        return {"status": DeliveryStatus.UNKNOWN.value}
    return {"status": DeliveryStatus.PLANNED.value, "due_at": {"$add": [_NOW, wait_milliseconds]}}


def _storable(words: str) -> str:
    """Return a server's words as the database takes them: they may have been any bytes, and any number of them."""
    return words.encode("utf-8", "replace").decode()[:MOST_REPLY]


def _milliseconds(length: timedelta) -> int:
    return int(length / timedelta(milliseconds=1))
