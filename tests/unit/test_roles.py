"""What each role may do: the table, read as the promise that it is."""

import pytest

from heliograph.errors import ForbiddenError
from heliograph.identity.identity import ANONYMOUS, Identity
from heliograph.identity.roles import ALLOWED, Action, Role, may

OWN = {Action.SUBMIT, Action.SEE_OWN, Action.CHANGE_OWN}


@pytest.mark.parametrize(
    ("role", "actions"),
    [
        ("admin", set(Action)),
        (
            "operator",
            OWN
            | {Action.SUBMIT_WITH_PRIORITY, Action.SEE_ALL, Action.CHANGE_ALL, Action.PAUSE, Action.REPLAY}
            | {Action.NAME_RECIPIENTS},
        ),
        ("job manager", OWN | {Action.SEE_ALL, Action.NAME_RECIPIENTS}),
        (
            "queue manager",
            OWN
            | {Action.SUBMIT_WITH_PRIORITY, Action.PAUSE, Action.MANAGE_QUEUES, Action.WORK}
            | {Action.NAME_RECIPIENTS},
        ),
        ("agent", OWN | {Action.WORK}),
        ("user", OWN),
        ("anonymous", {Action.SUBMIT, Action.SEE_OWN}),
    ],
)
def test_a_role_allows_just_this(role: str, actions: set[Action]) -> None:
    assert {action for action in Action if may([role], action)} == actions


def test_every_role_has_its_row() -> None:
    assert set(ALLOWED) == set(Role)


@pytest.mark.parametrize("word", ["root", "Admin", "admin ", "", "unige-hpc-full"])
def test_a_word_that_is_no_role_allows_nothing(word: str) -> None:
    assert not any(may([word], action) for action in Action)


def test_roles_add_up() -> None:
    assert may(["agent", "job manager", "anything"], Action.SEE_ALL)
    assert may(["agent", "user"], Action.SUBMIT)


def test_who_may_not_is_told_what() -> None:
    with pytest.raises(ForbiddenError, match="remove announced backends"):
        Identity("ada", frozenset({"user"})).require(Action.REMOVE_BACKENDS)
    Identity("root", frozenset({"admin"})).require(Action.REMOVE_BACKENDS)


def test_only_who_shows_no_token_is_anonymous() -> None:
    assert ANONYMOUS.is_anonymous
    assert not Identity("ada", frozenset({"user"})).is_anonymous
