"""What a job submits itself, and what became of it: asked for by the worker on behalf of the job."""

from collections.abc import Iterable
from typing import Any, NoReturn

from heliograph.admission.intake import Intake
from heliograph.backends.context import ChildJob
from heliograph.errors import InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Role
from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.jobs.store.trees import TreeStore
from heliograph.masking import Mask
from heliograph.notices.claims import claims_of
from heliograph.notices.notify import Notify


class Children:
    """Submits jobs under others, and looks at them."""

    def __init__(self, intake: Intake, trees: TreeStore) -> None:
        self._intake = intake
        self._trees = trees

    async def submit(
        self, parent: Job, number: int, body: dict[str, Any], *, withheld: Mask | None = None
    ) -> Job:  # fmt: skip
        """Submit a job under ``parent``, for the same owner, with the roles that its submitter had.

        Parameters
        ----------
        parent
            The job that submits.
        number
            Counts the submissions of the same content in an attempt. A later attempt of the same series that submits
            the same as often gets the same jobs.
        body
            A submission. Its group is the parent's unless it names one, and nobody is told of it unless it says so.

        Raises
        ------
        InvalidInputError
            A field is wrong, or it names another parent.
        ForbiddenError
            The roles do not suffice for this backend.
        ConflictError
            The parent is cancelled, or is to be.
        """
        if body.get("parent", parent.id) != parent.id:
            raise InvalidInputError.of("parent", "the parent of what a job submits is this job")
        body = {"notify": False, **body, "parent": parent.id}
        if body["notify"] is not False and Notify.from_document(parent.notify).is_confidential:
            asked = body["notify"] if isinstance(body["notify"], dict) else {}
            body["notify"] = {**asked, "confidential": True}
        digest = self._intake.digest(body)
        key = f"child:{parent.id}:{parent.series}:{number}:{digest}"
        job, _ = await self._intake.take(
            body, _submitter(parent), idempotency=(key, digest), traceparent=parent.traceparent, withheld=withheld
        )
        return job

    async def states(self, parent: Job, ids: Iterable[str]) -> list[State]:
        """Return the states of these descendants of ``parent`` now, in their order.

        Raises
        ------
        ValueError
            One of them is none.
        """
        wanted = list(ids)
        found = await self._trees.states(parent.id, wanted)
        return [found[each] if each in found else _refuse(each) for each in wanted]

    async def look_at(self, parent: Job, child: str) -> ChildJob:
        """Return how a descendant of ``parent`` is now, with its result; raises as ``states`` does."""
        found = await self._trees.outcome(parent.id, child)
        if found is None:
            _refuse(child)
        return ChildJob(child, found.state, found.result, found.error)


def _refuse(child: str) -> NoReturn:
    raise ValueError(f"the job {child} is none of this job's children")


def _submitter(parent: Job) -> Identity:
    """Return who submitted a job, as far as it knows: a user has further roles, a caller without a token that one."""
    is_anonymous = Role.ANONYMOUS.value in parent.roles
    told = Notify.from_document(parent.notify)
    claims = claims_of(told.claimed, told.time_zone)
    roles = frozenset(parent.roles) | (set() if is_anonymous else {Role.USER.value})
    return Identity(parent.owner, roles, claims=claims)
