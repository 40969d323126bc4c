"""Between stored documents and values. Parameters and results are kept as JSON text and never queried."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from heliograph.ids import new_id
from heliograph.jobs.model import Artifact, Change, Job, JobError, Lease, NewJob, Once
from heliograph.jobs.states import ErrorKind, State
from heliograph.json_text import json_text
from heliograph.storage import Document

_OPTIONAL = (
    "backend", "name", "group", "parent", "stage", "progress", "eta_seconds", "message", "not_before", "start_before",
    "timeout_seconds", "handler", "started_at", "ended_at", "traceparent",
)  # fmt: skip


def new_document(job: NewJob, now: datetime) -> Document:
    """Make the document of a new job: queued, with its first change, its event, and the note that it is to be told."""
    due = not job.after and (job.not_before is None or to_millisecond(job.not_before) <= now)
    told = job.notify.get("told", True) is not False
    change = {
        "id": new_id(), "seq": 1, "series": 1, "at": now, "state": State.QUEUED.value, "by": job.owner,
    }  # fmt: skip
    document: Document = {
        "_id": job.id, "queue": job.queue, "owner": job.owner, "state": State.QUEUED.value, "series": 1, "seq": 1,
        "attempt": 0, "max_attempts": job.max_attempts, "priority": job.priority, "due": due,
        "cancel_requested": False, "parameters": json_text(job.parameters), "inputs": list(job.inputs),
        "notify": job.notify, "created_at": now, "updated_at": now, "history": [change],
        "outbox": [{**change, "attempt": 0, "told": told}],
        "notices_due": [{"seq": 1, "at": now}] if told else [],
    }  # fmt: skip
    for name in ("backend", "name", "group", "parent", "not_before", "start_before", "timeout_seconds", "handler",
                 "traceparent", "identity", "secrets"):  # fmt: skip
        value = getattr(job, name)
        if value is not None:
            document[name] = to_millisecond(value) if isinstance(value, datetime) else value
    for name in ("ancestors", "after", "roles"):
        if value := getattr(job, name):
            document[name] = list(value)
    if job.after:
        document |= {"waits_for": list(job.after), "after_condition": job.after_condition.value}
    if job.once is not Once.NO:
        document |= {"once": {"key": job.once_key, "while": job.once.value}, "once_key": job.once_key}
    if job.idempotency:
        document["idempotency"] = {"key": job.idempotency[0], "digest": job.idempotency[1]}
    if job.retention_seconds:
        document["retention_ms"] = int(job.retention_seconds * 1000)
    return document


def to_millisecond(moment: datetime) -> datetime:
    """Return a time as the database keeps it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def to_job(document: Mapping[str, Any]) -> Job:
    """Read a job."""
    result, error, lease = document.get("result"), document.get("error"), document.get("lease")
    return Job(
        id=document["_id"], queue=document["queue"], owner=document["owner"], state=State(document["state"]),
        series=document["series"], seq=document["seq"], attempt=document["attempt"],
        max_attempts=document["max_attempts"], priority=document["priority"],
        parameters=orjson.loads(document["parameters"]), created_at=document["created_at"],
        updated_at=document["updated_at"], cancel_requested=document["cancel_requested"],
        result=orjson.loads(result) if result is not None else None,
        error=JobError(ErrorKind(error["kind"]), error["message"], error.get("traceback")) if error else None,
        artifacts=tuple(Artifact(**artifact) for artifact in document.get("artifacts", ())),
        inputs=tuple(document["inputs"]), notify=document["notify"], ancestors=tuple(document.get("ancestors", ())),
        after=tuple(document.get("after", ())), waits_for=tuple(document.get("waits_for", ())),
        begun_before=document.get("begun_before", False),
        roles=tuple(document.get("roles", ())), remembered=orjson.loads(document.get("remembered", "{}")),
        lease=Lease(lease["holder"], lease["token"], lease["until"], lease.get("deadline")) if lease else None,
        history=tuple(to_change(entry) for entry in document.get("history", ())),
        **{name: document.get(name) for name in _OPTIONAL},
    )  # fmt: skip


def to_claimed(document: Mapping[str, Any]) -> Job:
    """Read a job for the worker that claimed it: with its secrets, sealed, which nobody else is to see."""
    return replace(to_job(document), secrets=document.get("secrets"))


def to_change(entry: Mapping[str, Any]) -> Change:
    """Read an entry of the history."""
    return Change(
        entry["id"], entry["seq"], entry["series"], entry["at"], State(entry["state"]), entry["by"],
        entry.get("stage"), entry.get("message"),
    )  # fmt: skip


def artifact_document(artifact: Artifact) -> Document:
    """Write an artifact."""
    return {
        "name": artifact.name, "file": artifact.file, "media_type": artifact.media_type, "bytes": artifact.bytes,
        "sha256": artifact.sha256,
    }  # fmt: skip


def error_document(error: JobError | None) -> Document | None:
    """Write an error."""
    if error is None:
        return None
    return {"kind": error.kind.value, "message": error.message, "traceback": error.traceback}
