"""What a homeserver's answers mean for a message."""

from typing import Any

import pytest

from heliograph.channels import Refused, SendError, TryLater
from heliograph_notifier.channels.matrix.answers import Answer, failure

BOT = "@bot:hs.test"


def judged(status: int, errcode: str | None = None, **more: Any) -> SendError:
    body = {"errcode": errcode, "error": "its words"} | more if errcode else {}
    return failure(Answer(status, body), BOT)


@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (403, "M_FORBIDDEN"), (404, "M_NOT_FOUND"), (413, "M_TOO_LARGE"), (400, "M_UNKNOWN"), (400, "M_BAD_JSON"),
    ],
)  # fmt: skip
def test_what_never_will_be_taken_is_refused_in_the_servers_words(status: int, errcode: str) -> None:
    error = judged(status, errcode)
    assert isinstance(error, Refused)
    assert error.reply.startswith(f"{errcode} its words")


def test_who_is_not_in_a_room_learns_what_to_do() -> None:
    assert judged(403, "M_FORBIDDEN").reply.endswith(f"invite {BOT} into the room and let it speak there")


@pytest.mark.parametrize(
    ("status", "errcode"),
    [
        (401, "M_UNKNOWN_TOKEN"), (500, "M_UNKNOWN"), (502, None), (504, None), (403, None), (404, None), (200, None),
    ],
)  # fmt: skip
def test_what_the_server_says_of_itself_and_what_a_proxy_says_is_tried_again(status: int, errcode: str | None) -> None:
    error = judged(status, errcode)
    assert isinstance(error, TryLater)
    assert error.slow_channel
    assert error.after_seconds is None


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"retry_after_ms": 1500}, 1.5), ({}, None), ({"retry_after_ms": "x"}, None),
        ({"retry_after_ms": 10**12}, 3600.0), ({"retry_after_ms": 10**400}, 3600.0),
        ({"retry_after_ms": float("inf")}, 3600.0), ({"retry_after_ms": float("nan")}, None),
        ({"retry_after_ms": -1}, None),
    ],
)  # fmt: skip
def test_a_server_that_asks_for_patience_gets_it(more: dict[str, Any], seconds: float | None) -> None:
    error = judged(429, "M_LIMIT_EXCEEDED", **more)
    assert isinstance(error, TryLater)
    assert error.slow_channel
    assert error.after_seconds == seconds


def test_an_answer_without_what_it_has_to_hold_is_none() -> None:
    assert Answer(200, {"event_id": "$1"}).value("event_id") == "$1"
    with pytest.raises(TryLater, match="no event_id"):
        Answer(200, {"welcome": "to our hotel"}).value("event_id")
