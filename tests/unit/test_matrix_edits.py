"""What is edited next: the latest of each message alone, ends first, and nobody overtakes who waits longer."""

from dataclasses import replace
from datetime import UTC, datetime

from heliograph.jobs.states import State
from heliograph.notices.model import Subject
from heliograph_notifier.channels.matrix.edits import Change, Edits
from heliograph_notifier.channels.matrix.live_messages import Watch
from heliograph_notifier.channels.matrix.standing import Reading

AT_WORK = Reading("job", State.RUNNING, 1, 2, 1, datetime(2026, 11, 21, tzinfo=UTC), progress=0.1)
LATER = replace(AT_WORK, updated_at=datetime(2026, 11, 22, tzinfo=UTC), progress=0.2)
OVER = replace(LATER, state=State.DONE, seq=3)


def watch(name: str, room: str = "!room") -> Watch:
    return Watch(name, Subject.of_job(name), 1, room)


def shown(edits: Edits, *, most: int = 1, resting: str = "") -> list[str]:
    """Begin with so many edits, in the rooms that do not rest, and return of which messages they are."""
    begun = [edits.take(lambda change: change.watch.room != resting) for _ in range(most)]
    return [change.watch.id for change in begun if change]


def make(edits: Edits) -> Change:
    """Make the next edit."""
    change = edits.take(lambda _: True)
    assert change
    edits.done(change)
    edits.leave(change)
    return change


def test_the_latest_takes_the_place_of_what_nobody_saw() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.put(watch("b"), AT_WORK)
    edits.put(watch("a"), LATER)
    assert make(edits) == Change(watch("a"), LATER), "and keeps its place"
    assert make(edits) == Change(watch("b"), AT_WORK)
    assert not list(edits.waiting())


def test_what_is_over_goes_first() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    edits.put(watch("b"), AT_WORK)
    edits.put(watch("b"), OVER)
    assert [make(edits), make(edits)] == [Change(watch("b"), OVER), Change(watch("a"), AT_WORK)]
    assert not list(edits.waiting())


def test_several_of_a_room_are_under_way_at_once_and_of_a_message_one() -> None:
    edits = Edits()
    for name in "ab":
        edits.put(watch(name), AT_WORK)
    assert shown(edits, most=3) == ["a", "b"]
    edits.put(watch("a"), OVER)
    assert shown(edits) == [], "its order would be left to chance"
    assert edits.under_way == 2


def test_what_came_while_something_was_shown_is_shown_behind_those_who_waited() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    change = edits.take(lambda _: True)
    assert change
    edits.put(watch("b"), AT_WORK)
    edits.put(watch("a"), LATER)
    edits.done(change)
    edits.leave(change)
    assert [make(edits), make(edits)] == [Change(watch("b"), AT_WORK), Change(watch("a"), LATER)]


def test_what_could_not_be_shown_keeps_its_place() -> None:
    edits = Edits()
    for name in "ab":
        edits.put(watch(name), AT_WORK)
    change = edits.take(lambda _: True)
    assert change
    edits.leave(change)
    assert shown(edits) == ["a"]


def test_what_is_known_is_not_taken_in_again_until_it_is_forgotten() -> None:
    edits = Edits()
    edits.put(watch("a"), AT_WORK)
    make(edits)
    edits.put(watch("a"), replace(AT_WORK))
    assert not list(edits.waiting())
    edits.forget(watch("a"))
    edits.put(watch("a"), AT_WORK)
    assert make(edits) == Change(watch("a"), AT_WORK)


def test_a_room_with_many_messages_keeps_no_other_waiting() -> None:
    edits = Edits()
    for name in "abcd":
        edits.put(watch(name, "!busy"), OVER)
    edits.put(watch("e", "!quiet"), AT_WORK)
    assert shown(edits, most=3) == ["a", "e", "b"]


def test_a_room_that_rests_is_passed_over() -> None:
    edits = Edits()
    edits.put(watch("a", "!one"), OVER)
    edits.put(watch("b", "!two"), AT_WORK)
    assert shown(edits, most=2, resting="!one") == ["b"]
    edits.forget(watch("a", "!one"))
    assert shown(edits) == []


def test_what_is_doubted_is_taken_in_again_and_what_waits_keeps_its_place() -> None:
    edits = Edits()
    for name in "ab":
        edits.put(watch(name), AT_WORK)
    edits.doubt(watch("a"))
    assert [make(edits), make(edits)] == [Change(watch("a"), AT_WORK), Change(watch("b"), AT_WORK)]
    for name in "ab":
        edits.put(watch(name), AT_WORK)
    assert make(edits) == Change(watch("a"), AT_WORK)
    assert not list(edits.waiting())


def test_after_all_is_cleared_only_what_is_taken_in_since_is_shown() -> None:
    edits = Edits()
    for name in "abc":
        edits.put(watch(name), AT_WORK)
    change = edits.take(lambda _: True)
    assert change
    edits.clear()
    edits.put(watch("b"), AT_WORK)
    assert edits.under_way == 1
    edits.done(change)
    edits.leave(change)
    assert make(edits) == Change(watch("b"), AT_WORK)
    assert not list(edits.waiting())
