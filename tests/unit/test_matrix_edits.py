"""What is edited next: the latest of each message alone, ends first, and nobody overtakes who waits longer."""

from dataclasses import replace
from datetime import UTC, datetime

from heliograph.jobs.states import State
from heliograph.notices.model import Subject
from heliograph_notifier.channels.matrix.edits import Edits
from heliograph_notifier.channels.matrix.live_messages import Watch
from heliograph_notifier.channels.matrix.standing import Reading

AT_WORK = Reading("job", State.RUNNING, 1, 2, 1, datetime(2026, 11, 21, tzinfo=UTC), progress=0.1)
LATER = replace(AT_WORK, updated_at=datetime(2026, 11, 22, tzinfo=UTC), progress=0.2)
OVER = replace(LATER, state=State.DONE, seq=3)


def watch(name: str, room: str = "!room") -> Watch:
    return Watch(name, Subject.of_job(name), 1, room)


def test_the_latest_takes_the_place_of_what_nobody_saw() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.put(watch("b"), AT_WORK)
    edits.put(watch("a"), LATER)
    assert edits.first("!room") == ("a", LATER), "and keeps its place"
    edits.done(watch("a"), LATER)
    assert edits.first("!room") == ("b", AT_WORK)


def test_what_is_over_goes_first() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.put(watch("b"), AT_WORK)
    edits.put(watch("b"), OVER)
    assert edits.first("!room") == ("b", OVER)
    edits.done(watch("b"), OVER)
    edits.done(watch("a"), AT_WORK)
    assert edits.first("!room") is None
    assert list(edits.rooms()) == []


def test_what_came_while_something_was_shown_is_shown_next() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.put(watch("a"), OVER)
    edits.done(watch("a"), AT_WORK)
    assert edits.first("!room") == ("a", OVER)


def test_what_is_known_is_not_taken_in_again_until_it_is_forgotten() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.done(watch("a"), AT_WORK)
    edits.put(watch("a"), replace(AT_WORK))
    assert edits.first("!room") is None
    edits.forget(watch("a"))
    edits.put(watch("a"), AT_WORK)
    assert edits.first("!room") == ("a", AT_WORK)


def test_each_room_has_a_queue_of_its_own() -> None:
    edits = Edits()
    edits.put(watch("a", "!one"), AT_WORK)
    edits.put(watch("b", "!two"), OVER)
    assert set(edits.rooms()) == {"!one", "!two"}
    assert edits.first("!one") == ("a", AT_WORK)
    edits.forget(watch("a", "!one"))
    assert list(edits.rooms()) == ["!two"]


def test_all_that_waited_at_once_get_an_equal_share_until_none_waits() -> None:
    edits = Edits()
    for name in "abc":
        edits.put(watch(name), AT_WORK)
    for name in "ab":
        edits.done(watch(name), AT_WORK)
        assert edits.turns("!room") == 3
    edits.put(watch("d"), OVER)
    assert edits.turns("!room") == 3
    edits.forget(watch("c"))
    edits.done(watch("d"), OVER)
    assert edits.turns("!room") == 1
