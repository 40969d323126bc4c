"""Who is told what: the rules as a table."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.events.model import JobEvent, JobEventData
from heliograph.jobs.model import Change, Job
from heliograph.jobs.states import State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, Wish
from heliograph.notices.mutes import Mute, MuteScope
from heliograph.notices.notify import Notify
from heliograph.notices.preferences import QuietHours
from heliograph_notifier.recipients import Defaults, Recipient, Sources, recipients
from heliograph_notifier.rules import plan, within_interval

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


def planned(event_: JobEvent, wishes: list[Wish], defaults: Defaults | None = None, job: Job = JOB) -> list[Delivery]:
    """Plan for the owner's first wish and further recipients."""
    notify = Notify(claimed=tuple(wishes[:1]), named=tuple(wishes[1:]))
    defaults_ = {channel: defaults or Defaults() for channel in ("email", "matrix")}
    return list(plan(event_, job, recipients(job, notify, Sources(defaults=defaults_)), [], CLOCK).deliveries)


def reason_of(event_: JobEvent, wish: Wish, defaults: Defaults | None = None, job: Job = JOB) -> str:
    """The rule that decided, with an exclamation mark where the notice goes out."""
    (delivery,) = planned(event_, [wish], defaults, job)
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
    (delivery,) = planned(event(State.DONE, 3.2), [MAIL])
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
    ("by", "owner", "recipient", "word"),
    [
        (OWNER, OWNER, OWNER, "cancelled-by-recipient"),
        ("operator", OWNER, OWNER, "cancelled-wished!"),
        ("reconciler", OWNER, OWNER, "cancelled-wished!"),
        ("subject-17", "subject-17", OWNER, "cancelled-by-recipient"),
        (OWNER, "grace", "grace@example.org", "cancelled-wished!"),
        ("grace@example.org", "grace", "grace@example.org", "cancelled-by-recipient"),
    ],
)
def test_who_cancelled_it_is_not_told(by: str, owner: str, recipient: str, word: str) -> None:
    job = replace(JOB, owner=owner)
    assert reason_of(event(State.CANCELLED, by=by), Wish("email", recipient), job=job) == word


@pytest.mark.parametrize(
    ("state", "defaults", "word"),
    [
        (State.QUEUED, Defaults(submitted=False), "submitted-not-wished"),
        (State.DONE, Defaults(done=False), "done-not-wished"),
        (State.DONE, Defaults(done_after_threshold=False), "done-after-threshold-off"),
        (State.DONE, Defaults(threshold_seconds=0), "done-wished!"),
        (State.FAILED, Defaults(failed=False), "failed-not-wished"),
        (State.RUNNING, Defaults(running=False), "running-not-wished"),
        (State.RUNNING, Defaults(running_after_seconds=2), "running-without-wait"),
    ],
)
def test_what_a_wish_leaves_open_is_the_platforms_to_decide(state: State, defaults: Defaults, word: str) -> None:
    assert reason_of(event(state), MAIL, defaults) == word
    all_wished = replace(
        MAIL, submitted=True, running=True, running_after_seconds=1, done=True, done_after_threshold=True,
        threshold_seconds=1, failed=True,
    )  # fmt: skip
    assert reason_of(event(state, 2), all_wished, defaults).endswith("!")


@pytest.mark.parametrize(("interval", "needed"), [(None, 60.0), (5.0, 5.0), (0.0, None)])
def test_submitted_needs_a_free_interval(interval: float | None, needed: float | None) -> None:
    (delivery,) = planned(event(State.QUEUED), [replace(MAIL, interval_seconds=interval)])
    assert delivery.interval_seconds == needed
    suppressed = within_interval(delivery)
    assert suppressed.status is DeliveryStatus.SUPPRESSED
    assert suppressed.reason.startswith("submitted-within-interval: ")


@pytest.mark.parametrize("state", [State.RUNNING, State.DONE, State.FAILED, State.CANCELLED])
def test_only_submitted_needs_an_interval(state: State) -> None:
    (delivery,) = planned(event(state), [replace(MAIL, interval_seconds=5)])
    assert delivery.interval_seconds is None


def test_nobody_who_wished_nothing_is_told() -> None:
    assert planned(event(State.DONE, 9999), []) == []


def test_a_delivery_carries_what_identifies_and_schedules_it() -> None:
    (delivery,) = planned(event(State.FAILED, 7, series=2, seq=9), [MAIL])
    assert (delivery.job, delivery.occasion, delivery.series, delivery.seq) == (JOB.id, Occasion.FAILED, 2, 9)
    assert (delivery.channel, delivery.recipient) == ("email", OWNER)
    assert delivery.created_at == delivery.due_at == CLOCK


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_wishes_for_one_recipient_the_told_one_prevails(order: int) -> None:
    wishes = [replace(MAIL, failed=False), replace(MAIL, failed=True)][::order]
    (delivery,) = planned(event(State.FAILED), wishes)
    assert delivery.status is DeliveryStatus.PLANNED


def test_of_two_that_keep_it_back_the_first_is_the_reason() -> None:
    (delivery,) = planned(event(State.DONE, 1), [replace(MAIL, done=False), MAIL])
    assert delivery.reason.startswith("done-not-wished: ")


def test_each_recipient_and_channel_has_a_delivery_of_its_own() -> None:
    wishes = [MAIL, Wish("email", "grace@example.org", failed=False), Wish("matrix", OWNER)]
    deliveries = planned(event(State.FAILED), wishes)
    assert [(each.channel, each.recipient, each.status) for each in deliveries] == [
        ("email", OWNER, DeliveryStatus.PLANNED),
        ("email", "grace@example.org", DeliveryStatus.SUPPRESSED),
        ("matrix", OWNER, DeliveryStatus.PLANNED),
    ]
    assert len({each.key for each in deliveries}) == len({each.lane for each in deliveries}) == 3


# Running: who waited long hears when it begins.


def test_running_is_told_after_a_wait() -> None:
    after_an_hour = replace(MAIL, running_after_seconds=3600)
    assert reason_of(event(State.RUNNING, 3600), after_an_hour) == "running-without-wait"
    assert reason_of(event(State.RUNNING, 3601), after_an_hour) == "running-after-wait!"
    assert reason_of(event(State.RUNNING, 9999), replace(after_an_hour, running=False)) == "running-not-wished"


@pytest.mark.parametrize(
    ("not_before_hours", "begins_after_hours", "word"),
    [
        (5, 5.1, "running-without-wait"),  # it was to begin then
        (5, 6.1, "running-after-wait!"),
        (-3, 0.5, "running-without-wait"),  # in the past when it was submitted: it waits from then on
        (9, 2, "running-after-wait!"),  # a later attempt's: this one began before
    ],
)
def test_the_wait_counts_from_when_it_might_have_begun(
    not_before_hours: float, begins_after_hours: float, word: str
) -> None:
    job = replace(JOB, not_before=START + timedelta(hours=not_before_hours))
    wish = replace(MAIL, running_after_seconds=3600)
    assert reason_of(event(State.RUNNING, begins_after_hours * 3600), wish, job=job) == word


def test_a_reopened_job_waits_from_its_reopening() -> None:
    history = (Change("a", 4, 2, START + timedelta(hours=5), State.QUEUED, "ada"),)
    job, wish = replace(JOB, series=2, history=history), replace(MAIL, running_after_seconds=3600)
    assert reason_of(event(State.RUNNING, 5.5 * 3600, series=2), wish, job=job) == "running-without-wait"
    assert reason_of(event(State.RUNNING, 6.5 * 3600, series=2), wish, job=job) == "running-after-wait!"


# Mutes.

GROUPED = replace(JOB, group="night 7")
ADA = Recipient("email", OWNER, "owner", Defaults(digest=False), person="ada")


def mute(scope: MuteScope = MuteScope.ALL, **fields: Any) -> Mute:
    named: dict[str, Any] = {"made_by": "a test", "person": "ada"} | fields
    return Mute("01M", scope, created_at=START, **named)


@pytest.mark.parametrize(
    ("muted", "holds"),
    [
        (mute(), True),
        (mute(person="grace"), False),
        (mute(channel="email"), True),
        (mute(channel="matrix"), False),
        (mute(person=None, channel="email", recipient=OWNER), True),
        (mute(person=None, channel="matrix", recipient=OWNER), False),
        (mute(person=None, channel="email", recipient="grace@example.org"), False),
        (mute(person=None), False),  # nobody's
        (mute(person="grace", channel="email", recipient=OWNER), False),
        (mute(MuteScope.JOB, of=JOB.id), True),
        (mute(MuteScope.JOB, of="01OTHER"), False),
        (mute(MuteScope.JOB), False),
        (mute(MuteScope.GROUP, of="night 7", owner=OWNER), True),
        (mute(MuteScope.GROUP, of="night 8", owner=OWNER), False),
        (mute(MuteScope.GROUP, of="night 7", owner="somebody else"), False),
        (mute(until=START + timedelta(seconds=11)), True),
        (mute(until=START + timedelta(seconds=10)), False),  # the event's own time counts, not when it is planned
    ],
)
@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.DONE, State.FAILED, State.CANCELLED])
def test_a_mute_silences_whom_and_what_it_names(muted: Mute, holds: bool, state: State) -> None:
    told = replace(ADA, wish=replace(ADA.wish, threshold_seconds=0, running_after_seconds=0))
    (delivery,) = plan(event(state, 10), GROUPED, [told], [muted], CLOCK).deliveries
    assert (delivery.status is DeliveryStatus.SUPPRESSED) is holds
    assert delivery.reason.startswith("muted: ") is holds


@pytest.mark.parametrize("order", [1, -1])
def test_who_muted_it_is_told_for_no_other_reason_than_as_an_operator(order: int) -> None:
    """The submission names the address of whoever muted everything as a person; or operators get copies there."""
    named = Recipient("email", OWNER, "submission", ADA.wish)
    unsubscribed = mute(person=None, channel="email", recipient=OWNER)
    for other, by, word in (
        (named, mute(), "muted"), (replace(named, wish=Defaults()), mute(), "muted"),
        (replace(named, origin="operator"), mute(), "failed-wished"),
        (replace(named, origin="operator"), unsubscribed, "muted"),
    ):  # fmt: skip
        together = plan(event(State.FAILED), GROUPED, [ADA, other][::order], [by], CLOCK)
        assert [each.reason.partition(":")[0] for each in together.deliveries] == [word]
        assert together.with_group == ()


def test_the_reason_says_what_is_muted_by_what_and_until_when() -> None:
    until = datetime(2026, 11, 30, 8, tzinfo=UTC)
    muted = mute(MuteScope.GROUP, of="night 7", owner=OWNER, until=until, made_by="an unsubscribe link")
    (delivery,) = plan(event(State.FAILED), GROUPED, [ADA], [muted], CLOCK).deliveries
    assert delivery.reason == "muted: this group, by an unsubscribe link until 2026-11-30 08:00 UTC"


def test_a_muted_notice_takes_no_interval() -> None:
    (delivery,) = plan(event(State.QUEUED), JOB, [ADA], [mute()], CLOCK).deliveries
    assert delivery.interval_seconds is None


# Groups.


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.DONE, State.FAILED, State.CANCELLED])
def test_the_jobs_of_a_group_are_told_together(state: State) -> None:
    told = replace(ADA, wish=Defaults(threshold_seconds=0))
    planned_ = plan(event(state), GROUPED, [told], [], CLOCK)
    (delivery,) = planned_.deliveries
    assert delivery.status is DeliveryStatus.SUPPRESSED
    assert delivery.reason.startswith("told-with-group: ")
    assert planned_.with_group == (told,)
    assert plan(event(state), JOB, [told], [], CLOCK).with_group == ()  # it is in no group
    assert plan(event(state), GROUPED, [ADA], [], CLOCK).with_group == ()  # who does not wish it so


def test_who_muted_it_is_not_told_with_the_group_either() -> None:
    assert plan(event(State.FAILED), GROUPED, [replace(ADA, wish=Defaults())], [mute()], CLOCK).with_group == ()


@pytest.mark.parametrize("order", [1, -1])
def test_who_is_told_of_the_job_itself_is_not_told_with_its_group(order: int) -> None:
    told = [replace(ADA, wish=Defaults()), ADA][::order]
    failed, done = (
        plan(event(State.FAILED), GROUPED, told, [], CLOCK),
        plan(event(State.DONE), GROUPED, told, [], CLOCK),
    )
    assert ([each.status for each in failed.deliveries], failed.with_group) == ([DeliveryStatus.PLANNED], ())
    assert [each.wish.digest for each in done.with_group] == [True]  # too short to be told of by itself


# Quiet time.

LATE = datetime(2026, 11, 21, 23, tzinfo=UTC)
SLEEPER = replace(ADA, quiet_hours=QuietHours(time(22), time(7)), time_zone="Europe/Zurich")


def test_in_quiet_hours_a_notice_waits_and_its_reason_says_so() -> None:
    (delivery,) = plan(event(State.FAILED), JOB, [SLEEPER], [], LATE).deliveries
    assert (delivery.created_at, delivery.due_at) == (LATE, datetime(2026, 11, 22, 6, tzinfo=UTC))
    assert delivery.reason == "failed-wished: notices of failure are on; waits for the end of quiet time"


@pytest.mark.parametrize(
    ("urgent", "is_urgent", "passes"),
    [
        (frozenset(), False, False),
        (frozenset({Occasion.DONE}), False, False),
        (frozenset({Occasion.FAILED}), False, True),
        (frozenset(), True, True),
    ],
)
def test_what_is_urgent_passes_quiet_hours(urgent: frozenset[Occasion], is_urgent: bool, passes: bool) -> None:
    told = [replace(SLEEPER, urgent=urgent)]
    (delivery,) = plan(event(State.FAILED), JOB, told, [], LATE, is_urgent=is_urgent).deliveries
    assert (delivery.due_at == LATE) is passes
    assert delivery.is_urgent is passes


def test_what_is_suppressed_waits_for_nothing() -> None:
    (delivery,) = plan(event(State.DONE), JOB, [SLEEPER], [], LATE).deliveries
    assert (delivery.status, delivery.due_at) == (DeliveryStatus.SUPPRESSED, LATE)


# What holds whoever is told of whatever.

PLACES = [(channel, name) for channel in ("email", "matrix") for name in ("a@example.org", "b@example.org")]
SOMEBODY = st.builds(
    lambda place, person, wish, urgent: Recipient(place[0], place[1], "watch", wish, person=person, urgent=urgent),
    st.sampled_from(PLACES),
    st.sampled_from([None, "ada", "grace"]),
    st.builds(
        Defaults, submitted=st.booleans(), running=st.booleans(), done=st.booleans(), failed=st.booleans(),
        digest=st.booleans(), threshold_seconds=st.sampled_from([0.0, 60.0]),
    ),
    st.sets(st.sampled_from(list(Occasion))).map(frozenset),
)  # fmt: skip
MUTES = st.lists(st.builds(mute, st.sampled_from(MuteScope), person=st.sampled_from(["ada", "grace"]),
                           of=st.sampled_from([JOB.id, "night 7"]), owner=st.just(OWNER)), max_size=3)  # fmt: skip
EVENTS = st.sampled_from([event(state, 90) for state in State if state is not State.CLAIMED])


@given(EVENTS, st.sampled_from([JOB, GROUPED]), st.lists(SOMEBODY, max_size=6), MUTES)
def test_one_delivery_for_each_place_where_a_mute_and_then_a_reason_to_tell_prevails(
    event_: JobEvent, job: Job, told: list[Recipient], mutes: list[Mute]
) -> None:
    together = plan(event_, job, told, mutes, CLOCK)
    places = [(each.channel, each.recipient) for each in together.deliveries]
    assert len(set(places)) == len(places)
    assert set(places) == {(each.channel, each.recipient) for each in told}
    alone = [plan(event_, job, [each], mutes, CLOCK).deliveries[0] for each in told]
    is_told = {(each.channel, each.recipient) for each in alone if each.status is DeliveryStatus.PLANNED}
    is_told -= {(each.channel, each.recipient) for each in alone if each.reason.startswith("muted: ")}
    assert is_told == {
        (each.channel, each.recipient) for each in together.deliveries if each.status is DeliveryStatus.PLANNED
    }
    assert not is_told & {(each.channel, each.recipient) for each in together.with_group}
    assert all(": " in each.reason for each in together.deliveries)


def test_what_would_go_over_a_channel_that_is_not_set_up_is_not_left_waiting() -> None:
    told = recipients(JOB, Notify(claimed=(MAIL, Wish("matrix", "!room"))), Sources())
    deliveries = plan(event(State.FAILED), JOB, told, [], CLOCK, channels=("email",)).deliveries
    assert [(each.channel, each.reason.partition(":")[0]) for each in deliveries] == [
        ("email", "failed-wished"), ("matrix", "no-channel"),
    ]  # fmt: skip
    group = plan(event(State.FAILED), replace(JOB, group="survey"), told, [], CLOCK, channels=("email",))
    assert [each.channel for each in group.with_group] == ["email"]
