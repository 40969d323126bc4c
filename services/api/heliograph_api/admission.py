"""Admission: from what a client wrote to a job that may be stored, or to an error that names the field."""

import hmac
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from pydantic import ValidationError

from heliograph.errors import FieldError, ForbiddenError, InvalidInputError, NotFoundError
from heliograph.identity.roles import Action, roles_that_may
from heliograph.identity.tokens import Identity
from heliograph.ids import new_id
from heliograph.jobs.model import NewJob
from heliograph.json_text import canonical_json
from heliograph.notices.claims import email_wish
from heliograph.notices.model import Wish
from heliograph.storage import Files
from heliograph.wire import ChannelWishes, Submission
from heliograph_api.problems import invalid
from heliograph_api.registry import MOST_FAULTS, Entry, Registry

MOST_KEY_CHARACTERS = 255
MOST_INPUTS = 100  # uploads of one job; each is looked up


class Admission:
    """Judges submissions."""

    def __init__(self, registry: Registry, uploads: Files, identity_key: str, retention: timedelta) -> None:
        self._registry = registry
        self._uploads = uploads
        self._identity_key = identity_key.encode()
        self._retention = retention

    async def admit(
        self,
        body: Any,
        caller: Identity,
        *,
        idempotency: tuple[str, str] | None = None,
        traceparent: str | None = None,
    ) -> NewJob:
        """Return the job that ``body`` asks for.

        Raises
        ------
        InvalidInputError
            A field is wrong.
        ForbiddenError
            The caller's roles do not suffice for submitting, or for this backend.
        """
        caller.require(Action.SUBMIT)
        submission = _parse(body)
        entry = await self._backend(submission.backend)
        missing = set(entry.announced.roles) - caller.roles
        if missing:
            raise ForbiddenError(f"the backend {submission.backend} needs these roles: {', '.join(sorted(missing))}")
        _require_priority(submission.priority, caller)
        # Before the parameters are judged: a fault quotes the value at fault.
        secrets = islice(entry.secrets_given(submission.parameters), MOST_FAULTS)
        if secret := [FieldError(path, "secret parameters cannot be kept yet") for path in secrets]:
            raise invalid(secret)
        faults = entry.faults(submission.parameters)
        if faults:
            raise invalid(faults)
        inputs = await self._inputs(entry, submission.parameters, caller)
        return NewJob(
            id=new_id(), queue=submission.backend, backend=submission.backend, owner=caller.subject,
            parameters=submission.parameters, name=submission.name, group=submission.group,
            priority=submission.priority, max_attempts=submission.max_attempts, not_before=submission.not_before,
            start_before=submission.start_before, timeout_seconds=submission.timeout_seconds,
            handler=submission.handler, inputs=inputs, notify=_notify(submission, caller), traceparent=traceparent,
            idempotency=idempotency,
            identity=self._identity(caller.subject, submission),
            retention_seconds=self._retention.total_seconds() or None,
        )  # fmt: skip

    async def _backend(self, name: str) -> Entry:
        try:
            return await self._registry.find(name)
        except NotFoundError as error:
            raise InvalidInputError.of("backend", f"no worker has announced a backend {name}") from error

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

    def _identity(self, owner: str, submission: Submission) -> str:
        text = canonical_json([owner, submission.backend, submission.parameters])
        return hmac.new(self._identity_key, text.encode(), sha256).hexdigest()


def idempotency(key: str | None, body: Any, caller: Identity) -> tuple[str, str] | None:
    """Return a client's Idempotency-Key with the digest of what is asked for under it; None where there is no key.

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
    return key, sha256(canonical_json(body).encode()).hexdigest()


def _parse(body: Any) -> Submission:
    if not isinstance(body, dict):
        raise InvalidInputError.of("", "the body is not a JSON object")
    try:
        return Submission.model_validate(_shortened(body))
    except ValidationError as error:
        raise invalid([
            FieldError(_path(fault["loc"], body), fault["msg"].removeprefix("Value error, "))
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


def _require_priority(priority: int, caller: Identity) -> None:
    if priority > 0 and not caller.may(Action.SUBMIT_WITH_PRIORITY):
        who = ", ".join(roles_that_may(Action.SUBMIT_WITH_PRIORITY))
        raise InvalidInputError.of("priority", f"above 0 is for these roles: {who}")


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


def _notify(submission: Submission, caller: Identity) -> dict[str, Any]:
    """Return who wishes to be told: what the submission says goes before what the token says."""
    if submission.notify is False:
        return {"told": False, "wishes": []}
    wish = email_wish(caller.claims)
    if wish is None:
        return {"told": True, "wishes": []}
    asked = submission.notify.email if not isinstance(submission.notify, bool) else None
    return {"told": True, "wishes": [_merged(wish, asked).to_document()]}


def _merged(wish: Wish, asked: ChannelWishes | None) -> Wish:
    if asked is None:
        return wish
    named = {**wish.to_document(), **asked.model_dump(exclude_none=True)}
    return Wish.from_document(named)
