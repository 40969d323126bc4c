"""Submissions taken: judged, stored, and known again where they were taken before."""

from typing import Any

from heliograph.admission.admission import Admission
from heliograph.errors import ConflictError, ForbiddenError, InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.jobs.model import Job
from heliograph.jobs.service import JobService
from heliograph.masking import Mask


class Intake:
    """Takes submissions."""

    def __init__(self, admission: Admission, jobs: JobService) -> None:
        self._admission = admission
        self._jobs = jobs

    def idempotency(self, key: str | None, body: Any, caller: Identity) -> tuple[str, str] | None:
        """Return a key with the digest of what is asked for under it; as ``Admission.idempotency``."""
        return self._admission.idempotency(key, body, caller)

    def digest(self, body: Any) -> str:
        """Return the keyed digest of what is asked for."""
        return self._admission.digest(body)

    async def take(
        self,
        body: Any,
        caller: Identity,
        *,
        idempotency: tuple[str, str] | None = None,
        traceparent: str | None = None,
        withheld: Mask | None = None,
    ) -> tuple[Job, bool]:
        """Store the job that ``body`` asks for, journaled; return it, and whether it is new.

        ``withheld`` is as for ``Admission.admit``.

        Raises
        ------
        InvalidInputError
            A field is wrong, or the key was used for another request.
        ForbiddenError
            The caller's roles do not suffice.
        ConflictError
            Its parent is cancelled, or its queue holds somebody else's job of the same input.
        """
        try:
            new = await self._admission.admit(
                body, caller, idempotency=idempotency, traceparent=traceparent, withheld=withheld
            )
            return await self._jobs.submit(new, caller)
        except (InvalidInputError, ForbiddenError, ConflictError):
            # What was taken once is not judged again: its backend, its upload or its parent may be gone by now.
            known = await self._jobs.known(caller, idempotency) if idempotency else None
            if known is None:
                raise
            return known, False
