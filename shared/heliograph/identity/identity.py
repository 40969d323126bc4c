"""Who calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.errors import ForbiddenError, NotFoundError
from heliograph.identity.roles import Action, Role, may


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. Every holder of a user token is a *user*, whatever further roles the token lists.

    The holder of a queue's own token has a ``queue``: they see and change that queue's jobs, whosever those are, and
    nothing else.
    """

    subject: str
    roles: frozenset[str]
    name: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    queue: str | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether no token was shown."""
        return Role.ANONYMOUS in self.roles

    def may(self, action: Action) -> bool:
        """Say whether this caller may do it."""
        return may(self.roles, action)

    def require(self, action: Action) -> None:
        """Raise ``ForbiddenError`` unless this caller may do it."""
        if not self.may(action):
            raise ForbiddenError(f"your roles do not allow you to {action.value}")


ANONYMOUS = Identity("anonymous", frozenset({Role.ANONYMOUS.value}))


@dataclass(frozen=True, slots=True)
class Scope:
    """Which jobs a caller may see: an owner's, a queue's, or, where both are None, everybody's."""

    owner: str | None = None
    queue: str | None = None

    def holds(self, owner: str, queue: str) -> bool:
        """Say whether a job of this owner, in this queue, lies within."""
        return self.owner in {None, owner} and self.queue in {None, queue}


EVERYTHING = Scope()


def may_change(caller: Identity, owner: str, queue: str) -> bool:
    """Say whether the caller may cancel, retry and add to a job of this owner in this queue."""
    theirs = queue == caller.queue if caller.queue else owner == caller.subject
    return caller.may(Action.CHANGE_ALL) or (caller.may(Action.CHANGE_OWN) and theirs)


def scope(caller: Identity) -> Scope:
    """Return which jobs the caller may see.

    Raises
    ------
    NotFoundError
        None at all.
    """
    if caller.queue is not None:
        return Scope(queue=caller.queue)
    if caller.may(Action.SEE_ALL):
        return EVERYTHING
    if caller.may(Action.SEE_OWN):
        return Scope(owner=caller.subject)
    raise NotFoundError
