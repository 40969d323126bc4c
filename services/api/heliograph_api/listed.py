"""What a list may show its caller."""

from heliograph.errors import ForbiddenError
from heliograph.identity.identity import Identity, Scope, scope


def listed(caller: Identity, owner: str | None = None, queue: str | None = None) -> Scope:
    """Return what to list: what was asked for, where the caller may see it.

    Raises
    ------
    ForbiddenError
        They may not, or show no token.
    """
    if caller.is_anonymous:
        raise ForbiddenError("a list takes a token: without one, jobs are read by their id")
    seen = scope(caller)
    if seen.owner is not None and owner not in {None, seen.owner}:
        raise ForbiddenError("your roles do not allow you to list the jobs of others")
    if seen.queue is not None and queue not in {None, seen.queue}:
        raise ForbiddenError("this token is for another queue")
    return Scope(owner or seen.owner, queue or seen.queue)
