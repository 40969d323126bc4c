"""Admission: from what a client wrote to a job that may be stored, or to an error that names the field."""

import asyncio
import hmac
from collections.abc import Iterator, Sequence
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from pydantic import ValidationError

from heliograph.admission.entry import MOST_FAULTS, Entry
from heliograph.admission.marked_parameters import Place, dotted
from heliograph.admission.notify import notify_of
from heliograph.admission.registry import Registry
from heliograph.admission.relations import Relatives
from heliograph.admission.withheld import refuse_withheld
from heliograph.errors import FieldError, ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action, Role, roles_that_may
from heliograph.ids import new_id
from heliograph.jobs.model import NewJob, Once
from heliograph.json_text import canonical_json, json_text
from heliograph.masking import MASK, Mask
from heliograph.queues.model import Queue
from heliograph.sealed_parameters import sealed
from heliograph.secret_parameters import Secret, masked
from heliograph.settings import PREFIX
from heliograph.storage import Files
from heliograph.wire import Submission
from heliograph.wire.faults import words_of

MOST_KEY_CHARACTERS = 255
_IS_MASK = "this is the mask that is shown for a secret: give the secret itself"
_OF_REQUESTS = "what is asked for under an Idempotency-Key"  # so that no other hash is ever the same
MOST_INPUTS = 100  # uploads of one job; each is looked up


class Admission:
    """Judges submissions."""

    def __init__(
        self, registry: Registry, uploads: Files, relatives: Relatives, identity_key: str, retention: timedelta,
        *, seal_keys: Sequence[str] | None,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._uploads = uploads
        self._relatives = relatives
        self._identity_key = identity_key.encode()
        self._retention = retention
        self._seal_keys = seal_keys

    async def admit(
        self,
        body: Any,
        caller: Identity,
        *,
        idempotency: tuple[str, str] | None = None,
        traceparent: str | None = None,
        withheld: Mask | None = None,
    ) -> NewJob:
        """Return the job that ``body`` asks for.

        What is ``withheld`` are the secrets of the job that submits; they may stand in secret parameters alone.

        Raises
        ------
        InvalidInputError
            A field is wrong.
        ForbiddenError
            The caller's roles do not suffice for submitting, for this backend or queue or for adding to the parent, or
            the caller's token is for another queue.
        ConflictError
            The parent is cancelled, or is to be.
        """
        caller.require(Action.SUBMIT)
        submission = _parse(body)
        queue, entry = await self._place(submission, caller)
        missing = set(entry.roles) - caller.roles
        if missing:
            raise ForbiddenError(f"the {entry.kind} {entry.name} needs these roles: {', '.join(sorted(missing))}")
        _require_priority(submission.priority, caller)
        secrets = self._secrets(entry, submission.parameters)
        faults = entry.faults(submission.parameters)
        if faults:
            raise InvalidInputError.of_all(faults)
        _refuse_masks(submission.parameters)
        parameters = masked(submission.parameters, secrets)
        if withheld:  # in a thread, for there may be much to search, and a worker does other things meanwhile
            await asyncio.to_thread(refuse_withheld, submission.model_copy(update={"parameters": parameters}), withheld)
        inputs = await self._inputs(entry, submission.parameters, caller)
        relations = await self._relatives.judge(submission, caller)
        identifier = new_id()
        return NewJob(
            id=identifier, queue=entry.name, backend=submission.backend, owner=caller.subject,
            parameters=parameters, secrets=sealed(self._seal_keys or (), identifier, secrets) if secrets else None,
            name=submission.name, group=relations.group, parent=submission.parent,
            ancestors=relations.ancestors, after=relations.after, after_condition=submission.after_condition,
            roles=tuple(sorted(caller.roles - {Role.USER.value})),
            priority=submission.priority, max_attempts=_attempts(submission, queue), not_before=submission.not_before,
            start_before=submission.start_before, timeout_seconds=submission.timeout_seconds,
            handler=submission.handler, inputs=inputs, notify=notify_of(submission.notify, caller).to_document(),
            traceparent=traceparent, idempotency=idempotency,
            identity=self._hash(caller.subject, entry.name, submission.parameters),
            once=queue.once if queue else Once.NO,
            once_key=self._hash(entry.name, submission.parameters) if queue and queue.once is not Once.NO else None,
            retention_seconds=self._retention.total_seconds() or None,
        )  # fmt: skip

    def idempotency(self, key: str | None, body: Any, caller: Identity) -> tuple[str, str] | None:
        """Return a client's Idempotency-Key with the digest of what is asked for under it; None where there is no key.

        The digest is a keyed one: from another, who reads it could find a secret in the body that is easily guessed.

        Raises
        ------
        InvalidInputError
            The key is none, or the caller shows no token.
        """
        checked = checked_key(key, caller)
        return None if checked is None else (checked, self.digest(body))

    def digest(self, body: Any) -> str:
        """Return the keyed digest of what is asked for, secrets and all."""
        return self._hash(_OF_REQUESTS, body)

    def _secrets(self, entry: Entry, parameters: dict[str, Any]) -> list[Secret]:
        """Return the secrets among the parameters, which need not fit yet; refuse them where none can be kept."""
        secrets = list(entry.secrets_given(parameters))
        if not secrets:
            return []
        if entry.kind == "queue":
            why = "this is a secret, and the agents of a pull queue are given none: they are outside"
        elif not self._seal_keys:
            why = f"this is a secret, and none can be kept here: the operator sets {PREFIX}SEAL_KEYS"
        else:
            secrets_masked = [(place, value) for place, value in secrets if value == MASK]
            if not secrets_masked:
                return secrets
            secrets, why = secrets_masked, _IS_MASK
        raise InvalidInputError.of_all([FieldError(dotted(place), why) for place, _ in secrets[:MOST_FAULTS]])

    async def _place(self, submission: Submission, caller: Identity) -> tuple[Queue | None, Entry]:
        """Return what the submission is for: a queue, or else a backend."""
        name = submission.queue or submission.backend
        if name is None:
            raise InvalidInputError.of("backend", "name a backend, or else a queue")
        if submission.queue and submission.backend:
            raise InvalidInputError.of("queue", "name either a backend or a queue")
        if caller.queue is not None and submission.queue != caller.queue:
            raise ForbiddenError(f"this token is for the queue {caller.queue}")
        try:
            if submission.queue is not None:
                return await self._registry.queue(name)
            return None, await self._registry.find(name)
        except NotFoundError as error:
            hint = self._registry.hint(name, is_queue=submission.queue is not None)
            if submission.queue is not None:
                raise InvalidInputError.of("queue", f"there is no queue {name}{hint}") from error
            raise InvalidInputError.of("backend", f"no worker has announced a backend {name}{hint}") from error

    async def _inputs(self, entry: Entry, parameters: dict[str, Any], caller: Identity) -> tuple[str, ...]:
        places: dict[str, str] = {}
        for path, upload in entry.uploads(parameters):
            places[upload] = path
            if len(places) > MOST_INPUTS:
                raise InvalidInputError.of("parameters", f"they name more than {MOST_INPUTS} uploads")
        for upload, path in places.items():
            try:
                owner = (await self._uploads.find(upload)).owner
            except NotFoundError:
                owner = None
            if owner != caller.subject:
                raise InvalidInputError.of(path, "there is no such upload; upload the file first, and give its id")
        return tuple(places)

    def _hash(self, *values: Any) -> str:
        return hmac.new(self._identity_key, canonical_json(values).encode(), sha256).hexdigest()


def checked_key(key: str | None, caller: Identity) -> str | None:
    """Return a client's Idempotency-Key.

    Raises
    ------
    InvalidInputError
        The key is none, or the caller shows no token.
    """
    if key is None:
        return None
    if caller.is_anonymous:
        raise InvalidInputError.of("Idempotency-Key", "this takes a token: keys are kept for each owner")
    if not key or len(key) > MOST_KEY_CHARACTERS or not key.isprintable():
        raise InvalidInputError.of("Idempotency-Key", f"a key has 1 to {MOST_KEY_CHARACTERS} printable characters")
    return key


def _parse(body: Any) -> Submission:
    if not isinstance(body, dict):
        raise InvalidInputError.of("", "the body is not a JSON object")
    try:
        return Submission.model_validate(_shortened(body))
    except ValidationError as error:
        raise InvalidInputError.of_all([
            FieldError(_path(fault["loc"], body), words_of(Submission, fault))
            for fault in error.errors(include_url=False, include_input=False)[:MOST_FAULTS]
        ]) from error  # fmt: skip


def _shortened(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out names beyond the faults that are told: Pydantic takes 5 us for each, and a body can hold 100,000."""
    known = {name: body[name] for name in Submission.model_fields if name in body}
    unknown = dict.fromkeys(islice((name for name in body if name not in known), MOST_FAULTS + 1))
    notify = known.get("notify")
    if isinstance(notify, dict):
        known["notify"] = {name: _few(inner) for name, inner in _few(notify).items()}
    return known | unknown


def _few(value: Any) -> Any:
    return dict(islice(value.items(), MOST_FAULTS + 1)) if isinstance(value, dict) else value


def _refuse_masks(parameters: dict[str, Any]) -> None:
    """Refuse a mask anywhere: a parameter that is secret no more may have been copied from a job of which it was."""
    if f'"{MASK}"' not in json_text(parameters):  # 3 ms for 1 MB; the way through all values takes 50 ms
        return
    places = islice((place for place, value in _values(parameters, ()) if value == MASK), MOST_FAULTS)
    if faults := [FieldError(dotted(place), _IS_MASK) for place in places]:
        raise InvalidInputError.of_all(faults)


def _values(value: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Yield each value that is neither an object nor a list, and its place."""
    if not isinstance(value, dict | list):
        yield place, value
        return
    for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _values(inner, (*place, part))


def _require_priority(priority: int, caller: Identity) -> None:
    if priority > 0 and not caller.may(Action.SUBMIT_WITH_PRIORITY):
        who = ", ".join(roles_that_may(Action.SUBMIT_WITH_PRIORITY))
        raise InvalidInputError.of("priority", f"above 0 is for these roles: {who}")


def _attempts(submission: Submission, queue: Queue | None) -> int:
    """Return how often a job may be begun: in a queue, at most as often as that allows."""
    if queue is None:
        return submission.max_attempts
    asked = submission.max_attempts if "max_attempts" in submission.model_fields_set else queue.max_attempts
    return min(asked, queue.max_attempts)


def _path(location: tuple[int | str, ...], body: Any) -> str:
    """Return the dotted path of a fault. Of a union, Pydantic's location names the branch too, which no body has."""
    parts = []
    here = body
    for part in location:
        if not isinstance(here, dict):
            break
        if part in here:
            here = here[part]
        elif part != location[-1]:
            continue
        parts.append(str(part))
    return ".".join(parts)
