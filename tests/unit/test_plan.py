"""Who is told what: the rules as a table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from heliograph.events.model import JobEvent, JobEventData
from heliograph.jobs.model import Change, Job
from heliograph.jobs.states import State
from heliograph.notices.model import DeliveryStatus, Occasion, Wish
from heliograph_notifier.rules import Defaults, plan, within_interval

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
CLOCK = START + timedelta(days=1)
OWNER = "ada@example.org"
MAIL = Wish("email", OWNER)

JOB = Job(
    id="01ABCDEFGHJKMNPQRSTVWXYZ00", queue="periodogram", owner=OWNER, state=State.DONE, series=1, seq=3, attempt=1,
    max_attempts=3, priority=0, parameters={}, created_at=START, updated_at=START,
)  # fmt: skip


def event(state: State, after_seconds: float = 0.0, *, series: int = 1, seq: int = 3, by: str = "worker") -> JobEvent:
    at = START + timedelta(seconds=after_seconds)
    return JobEvent.of_change(
        JobEventData(id=JOB.id, state=state, series=series, seq=seq, queue=JOB.queue, owner=OWNER, by=by, at=at)
    )


def reason_of(event_: JobEvent, wish: Wish, defaults: Defaults | None = None, job: Job = JOB) -> str:
    """The rule that decided, with an exclamation mark where the notice goes out."""
    (delivery,) = plan(event_, job, [wish], defaults or Defaults(), CLOCK)
    word = delivery.reason.partition(":")[0]
    return f"{word}!" if delivery.status is DeliveryStatus.PLANNED else word


@pytest.mark.parametrize(
    ("state", "wish", "word"),
    [
        (State.QUEUED, MAIL, "submitted-wished!"),
        (State.QUEUED, replace(MAIL, submitted=False), "submitted-not-wished"),
        (State.DONE, replace(MAIL, done=False, threshold_seconds=0), "done-not-wished"),
        (State.DONE, replace(MAIL, done_after_threshold=False, threshold_seconds=0), "done-after-threshold-off"),
        (State.DONE, replace(MAIL, threshold_seconds=0), "done-wished!"),
        (State.DONE, MAIL, "done-below-threshold"),
        (State.FAILED, MAIL, "failed-wished!"),
        (State.FAILED, replace(MAIL, failed=False), "failed-not-wished"),
        (State.FAILED, replace(MAIL, done=False, submitted=False), "failed-wished!"),
        (State.CANCELLED, MAIL, "cancelled-wished!"),
        (State.CANCELLED, replace(MAIL, failed=False), "cancelled-not-wished"),
    ],
)
def test_what_is_wished_is_told(state: State, wish: Wish, word: str) -> None:
    assert reason_of(event(state, 1), wish) == word


@pytest.mark.parametrize(
    ("seconds", "threshold", "word"),
    [
        (1800.0, None, "done-below-threshold"),
        (1800.001, None, "done-above-threshold!"),
        (10.0, 10.0, "done-below-threshold"),
        (10.001, 10.0, "done-above-threshold!"),
        (0.0, 0.0, "done-wished!"),
        (0.0, 0.001, "done-below-threshold"),
        (3600.0, 7200.0, "done-below-threshold"),
    ],
)
def test_done_is_told_of_what_took_strictly_longer_than_the_threshold(
    seconds: float, threshold: float | None, word: str
) -> None:
    assert reason_of(event(State.DONE, seconds), replace(MAIL, threshold_seconds=threshold)) == word


def test_the_reason_says_how_long_it_took_and_from_when_it_is_told() -> None:
    (delivery,) = plan(event(State.DONE, 3.2), JOB, [MAIL], Defaults(), CLOCK)
    assert delivery.reason == "done-below-threshold: took 3.2 s, told from 1800 s"


def test_a_reopened_job_is_timed_from_its_reopening() -> None:
    reopened = START + timedelta(hours=5)
    history = (Change("a", 4, 2, reopened, State.QUEUED, "ada"), Change("b", 5, 2, reopened, State.RUNNING, "w"))
    job = replace(JOB, series=2, history=history)
    short = event(State.DONE, 5 * 3600 + 60, series=2, seq=6)
    long = event(State.DONE, 6 * 3600, series=2, seq=6)
    assert reason_of(short, MAIL, job=job) == "done-below-threshold"
    assert reason_of(long, MAIL, job=job) == "done-above-threshold!"


@pytest.mark.parametrize(
    ("by", "wish", "word"),
    [
        (OWNER, MAIL, "cancelled-by-recipient"),
        ("operator", MAIL, "cancelled-wished!"),
        ("reconciler", MAIL, "cancelled-wished!"),
        ("subject-17", replace(MAIL, subject="subject-17"), "cancelled-by-recipient"),
        (OWNER, Wish("email", "grace@example.org", subject="grace"), "cancelled-wished!"),
        ("grace@example.org", Wish("email", "grace@example.org"), "cancelled-by-recipient"),
    ],
)
def test_who_cancelled_it_is_not_told(by: str, wish: Wish, word: str) -> None:
    assert reason_of(event(State.CANCELLED, by=by), wish) == word


@pytest.mark.parametrize(
    ("state", "defaults", "word"),
    [
        (State.QUEUED, Defaults(submitted=False), "submitted-not-wished"),
        (State.DONE, Defaults(done=False), "done-not-wished"),
        (State.DONE, Defaults(done_after_threshold=False), "done-after-threshold-off"),
        (State.DONE, Defaults(threshold_seconds=0), "done-wished!"),
        (State.FAILED, Defaults(failed=False), "failed-not-wished"),
    ],
)
def test_what_a_wish_leaves_open_is_the_platforms_to_decide(state: State, defaults: Defaults, word: str) -> None:
    assert reason_of(event(state), MAIL, defaults) == word
    all_wished = replace(MAIL, submitted=True, done=True, done_after_threshold=True, threshold_seconds=1, failed=True)
    assert reason_of(event(state, 2), all_wished, defaults).endswith("!")


@pytest.mark.parametrize(("interval", "needed"), [(None, 60.0), (5.0, 5.0), (0.0, None)])
def test_submitted_needs_a_free_interval(interval: float | None, needed: float | None) -> None:
    (delivery,) = plan(event(State.QUEUED), JOB, [replace(MAIL, interval_seconds=interval)], Defaults(), CLOCK)
    assert delivery.interval_seconds == needed
    suppressed = within_interval(delivery)
    assert suppressed.status is DeliveryStatus.SUPPRESSED
    assert suppressed.reason.startswith("submitted-within-interval: ")


@pytest.mark.parametrize("state", [State.DONE, State.FAILED, State.CANCELLED])
def test_only_submitted_needs_an_interval(state: State) -> None:
    (delivery,) = plan(event(state), JOB, [replace(MAIL, interval_seconds=5)], Defaults(), CLOCK)
    assert delivery.interval_seconds is None


@pytest.mark.parametrize("state", [State.CLAIMED, State.RUNNING])
def test_work_under_way_is_not_told(state: State) -> None:
    assert plan(event(state), JOB, [MAIL], Defaults(), CLOCK) == []


def test_nobody_who_wished_nothing_is_told() -> None:
    assert plan(event(State.DONE, 9999), JOB, [], Defaults(), CLOCK) == []


def test_a_delivery_carries_what_identifies_and_schedules_it() -> None:
    (delivery,) = plan(event(State.FAILED, 7, series=2, seq=9), JOB, [MAIL], Defaults(), CLOCK)
    assert (delivery.job, delivery.occasion, delivery.series, delivery.seq) == (JOB.id, Occasion.FAILED, 2, 9)
    assert (delivery.channel, delivery.recipient) == ("email", OWNER)
    assert delivery.created_at == delivery.due_at == CLOCK


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_wishes_for_one_recipient_the_told_one_prevails(order: int) -> None:
    wishes = [replace(MAIL, failed=False), replace(MAIL, failed=True)][::order]
    (delivery,) = plan(event(State.FAILED), JOB, wishes, Defaults(), CLOCK)
    assert delivery.status is DeliveryStatus.PLANNED


def test_each_recipient_and_channel_has_a_delivery_of_its_own() -> None:
    wishes = [MAIL, Wish("email", "grace@example.org", failed=False), Wish("matrix", OWNER)]
    deliveries = plan(event(State.FAILED), JOB, wishes, Defaults(), CLOCK)
    assert [(each.channel, each.recipient, each.status) for each in deliveries] == [
        ("email", OWNER, DeliveryStatus.PLANNED),
        ("email", "grace@example.org", DeliveryStatus.SUPPRESSED),
        ("matrix", OWNER, DeliveryStatus.PLANNED),
    ]
    assert len({each.key for each in deliveries}) == len({each.lane for each in deliveries}) == 3
