"""The roles and what each may do, as one table."""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """The platform's roles; a token may carry others, which backends may ask for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    JOB_MANAGER = "job manager"
    QUEUE_MANAGER = "queue manager"
    AGENT = "agent"
    USER = "user"
    ANONYMOUS = "anonymous"


class Action(StrEnum):
    """What a role may allow."""

    SUBMIT = "submit jobs"
    SUBMIT_WITH_PRIORITY = "submit with priority"
    SEE_OWN = "see one's own jobs"
    SEE_ALL = "see everybody's jobs"
    CHANGE_OWN = "cancel and retry one's own jobs"
    CHANGE_ALL = "cancel and retry everybody's jobs"
    REMOVE_BACKENDS = "remove announced backends"
    PAUSE = "pause, resume and limit queues and backends"
    MANAGE_QUEUES = "declare pull queues and issue their tokens"
    WORK = "claim and report the jobs of pull queues"
    REPLAY = "replay what was given up"
    NAME_RECIPIENTS = "have others told"
    RESEND = "send notices again"


_OWN = frozenset({Action.SUBMIT, Action.SEE_OWN, Action.CHANGE_OWN})

# A queue's own token is an agent's, and what an agent may do it may in its queue alone.
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.ADMIN: frozenset(Action),
    Role.OPERATOR: _OWN
    | {
        Action.SUBMIT_WITH_PRIORITY,
        Action.SEE_ALL,
        Action.CHANGE_ALL,
        Action.PAUSE,
        Action.REPLAY,
        Action.NAME_RECIPIENTS,
    },
    Role.JOB_MANAGER: _OWN | {Action.SEE_ALL, Action.NAME_RECIPIENTS},
    Role.QUEUE_MANAGER: _OWN
    | {Action.SUBMIT_WITH_PRIORITY, Action.PAUSE, Action.MANAGE_QUEUES, Action.WORK, Action.NAME_RECIPIENTS},
    Role.AGENT: _OWN | {Action.WORK},
    Role.USER: _OWN,
    Role.ANONYMOUS: frozenset({Action.SUBMIT, Action.SEE_OWN}),
}

_KNOWN = {role.value: role for role in Role}


def may(roles: Iterable[str], action: Action) -> bool:
    """Say whether one of the roles allows the action; words that are no role of the platform allow nothing."""
    return any(action in ALLOWED[_KNOWN[role]] for role in roles if role in _KNOWN)


def roles_that_may(action: Action) -> tuple[Role, ...]:
    """Return the roles that allow it, in the order of the table."""
    return tuple(role for role, allowed in ALLOWED.items() if action in allowed)
