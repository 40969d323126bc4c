"""What a submission says of other jobs: its parent, and those that it comes after."""

from dataclasses import dataclass, field

from heliograph.admission.entry import MOST_FAULTS
from heliograph.errors import ConflictError, FieldError, ForbiddenError, InvalidInputError
from heliograph.identity.identity import Identity, may_change, scope
from heliograph.jobs.store.trees import Relative, TreeStore
from heliograph.wire import Submission

MOST_LEVELS = 20  # above a job; each costs its every write an entry in an index


@dataclass(frozen=True, slots=True)
class Relations:
    """How a new job stands to others, judged."""

    group: str | None = None
    ancestors: tuple[str, ...] = ()
    after: tuple[str, ...] = field(default=())


class Relatives:
    """Judges what submissions say of other jobs."""

    def __init__(self, trees: TreeStore) -> None:
        self._trees = trees

    async def judge(self, submission: Submission, caller: Identity) -> Relations:
        """Return how the job will stand to those that it names; its group is its parent's where it names none.

        Raises
        ------
        InvalidInputError
            One that it names does not exist for the caller, or its tree is too deep.
        ForbiddenError
            The parent is not the caller's to change.
        ConflictError
            The parent is cancelled, or is to be.
        """
        named = {*submission.after, *([submission.parent] if submission.parent else ())}
        if not named:
            return Relations(submission.group)
        found = await self._trees.relatives(named, scope(caller))
        faults = [FieldError("parent", "there is no such job")] if submission.parent not in {None, *found} else []
        faults += [
            FieldError(f"after.{number}", "there is no such job")
            for number, each in enumerate(submission.after)
            if each not in found
        ]
        if faults:
            raise InvalidInputError.of_all(faults[:MOST_FAULTS])
        after = tuple(dict.fromkeys(submission.after))
        if submission.parent is None:
            return Relations(submission.group, after=after)
        parent = found[submission.parent]
        await self._require_room(parent, caller)
        return Relations(submission.group or parent.group, (*parent.ancestors, parent.id), after)

    async def _require_room(self, parent: Relative, caller: Identity) -> None:
        if not may_change(caller, parent.owner, parent.queue):
            raise ForbiddenError("your roles do not allow you to add to the job that you name as parent")
        if len(parent.ancestors) >= MOST_LEVELS:
            raise InvalidInputError.of("parent", f"a tree of jobs has at most {MOST_LEVELS} levels below its root")
        if await self._trees.is_cancelled((*parent.ancestors, parent.id)):
            raise ConflictError(f"the parent, the job {parent.id}, or one above it is cancelled")
