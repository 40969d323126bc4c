"""What people are told of a group: the rules as tables, and what the notices say."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from heliograph.channels import Notice
from heliograph.jobs.sets import FailedJob, Outcome, Tally
from heliograph.jobs.states import State
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion
from heliograph.notices.mutes import Mute, MuteScope
from heliograph.notices.preferences import QuietHours
from heliograph_notifier.campaigns.model import Campaign, CampaignState, Member
from heliograph_notifier.campaigns.rules import Terms, digest, is_failing, word_of_begin, word_of_failing
from heliograph_notifier.describing.group import describe_group
from heliograph_notifier.links import Links
from heliograph_notifier.recipients import Defaults, Recipient
from heliograph_notifier.rules import muted

START = datetime(2026, 11, 21, 22, tzinfo=UTC)
ADA = Recipient("email", "ada@example.org", "owner", Defaults(), person="ada")
MUTE = Mute("1", MuteScope.GROUP, "a link", START, of="survey", owner="ada", person="ada")
LINKS = Links("https://heliograph.example.org", ["k" * 40])
CAMPAIGN = Campaign(
    id="01ABCDEFGHJKMNPQRSTVWXYZ00", owner="ada", group="survey", state=CampaignState.OPEN, opened_at=START,
    news_at=START, version=1, members=(Member(ADA, saw_begin=True),),
)  # fmt: skip


def tally(done: int = 0, failed: int = 0, cancelled: int = 0, queued: int = 0) -> Tally:
    counts = {State.DONE: done, State.FAILED: failed, State.CANCELLED: cancelled, State.QUEUED: queued}
    return Tally({state: count for state, count in counts.items() if count})


def over(counts: Tally, took: timedelta = timedelta(hours=3), *, to: Recipient = ADA) -> Campaign:
    end = START + took
    return replace(
        CAMPAIGN, state=CampaignState.CLOSING, members=(Member(to),), tally=counts, through=end, closed_at=end
    )


@pytest.mark.parametrize(
    ("counts", "is_told"),
    [
        (tally(done=7, failed=3, queued=1), True),
        (tally(done=8, failed=2, queued=1), False),  # below a quarter
        (tally(done=6, failed=3, queued=1), False),  # too few ended to say so
        (tally(failed=9, queued=9), False),
        (tally(done=3, failed=3, cancelled=6, queued=1), True),  # of what ended
        (tally(failed=50), False),  # over: the digest says it
        (tally(queued=50), False),
    ],
)
def test_when_people_get_an_early_word(counts: Tally, *, is_told: bool) -> None:
    assert is_failing(counts, Terms(failing_share=0.25, failing_least=10)) is is_told


@pytest.mark.parametrize(
    ("counts", "took_minutes", "wish", "is_told", "rule"),
    [
        (tally(done=487, failed=13), 1, {}, True, "digest-failed"),
        (tally(done=487, failed=13), 180, {"failed": False}, True, "done-above-threshold"),
        (tally(done=487, failed=13), 1, {"failed": False}, False, "done-below-threshold"),
        (tally(done=500), 180, {}, True, "done-above-threshold"),
        (tally(done=500), 1, {}, False, "done-below-threshold"),
        (tally(done=500), 1, {"threshold_seconds": 0}, True, "done-wished"),
        (tally(done=500), 180, {"done": False}, False, "done-not-wished"),
        (tally(done=500, failed=1), 180, {"done": False}, True, "digest-failed"),
        (tally(), 180, {}, False, "digest-empty"),
    ],
)
def test_who_is_told_what_became_of_a_group(
    counts: Tally, took_minutes: int, wish: dict[str, object], rule: str, *, is_told: bool
) -> None:  # fmt: skip
    to = replace(ADA, wish=replace(Defaults(), **wish))  # type: ignore[arg-type]  # the names are those of the table
    (delivery,) = digest(over(counts, timedelta(minutes=took_minutes), to=to), [], START)
    assert (delivery.status is DeliveryStatus.PLANNED, delivery.reason.partition(":")[0]) == (is_told, rule)
    assert delivery.key == f"{CAMPAIGN.subject}|digest|1|email|0|ada@example.org"


def test_the_beginning_is_told_to_those_who_saw_it_and_have_not_heard_of_it() -> None:
    late, informed = (
        Member(replace(ADA, recipient="late@x.org")),
        Member(replace(ADA, recipient="informed@x.org"), True),
    )
    campaign = replace(CAMPAIGN, members=(*CAMPAIGN.members, late, informed), begun=frozenset({informed.key}))
    assert [each.recipient for each in word_of_begin(campaign, [], START)] == ["ada@example.org"]


def test_a_mute_and_a_switch_keep_the_early_word_back() -> None:
    deaf = replace(ADA, recipient="deaf@x.org", person="deaf", wish=Defaults(failed=False))
    campaign = replace(CAMPAIGN, members=(*CAMPAIGN.members, Member(deaf)))
    words = word_of_failing(campaign, tally(done=1, failed=9), [MUTE], START)
    assert [each.reason for each in words] == [
        muted(MUTE),
        "failing-not-wished: 9 of 10 failed so far, and notices of failure are off",
    ]
    assert {each.status for each in words} == {DeliveryStatus.SUPPRESSED}


def test_a_mute_that_is_over_when_the_group_is_keeps_nothing_back() -> None:
    (delivery,) = digest(over(tally(failed=1)), [replace(MUTE, until=START + timedelta(hours=1))], START)
    assert delivery.status is DeliveryStatus.PLANNED


def test_quiet_hours_delay_a_digest_unless_the_group_is_urgent() -> None:
    to = replace(ADA, quiet_hours=QuietHours(time(20), time(8)))
    (kept,) = digest(over(tally(failed=1), to=to), [], START)
    (urgent,) = digest(replace(over(tally(failed=1), to=to), is_urgent=True), [], START)
    assert (kept.due_at, urgent.due_at) == (datetime(2026, 11, 22, 8, tzinfo=UTC), START)


def test_what_is_urgent_when_it_fails_is_so_of_a_group_with_failures() -> None:
    to = replace(ADA, quiet_hours=QuietHours(time(20), time(8)), urgent=frozenset({Occasion.FAILED}))
    campaign = replace(CAMPAIGN, members=(Member(to, saw_begin=True),))
    (early,) = word_of_failing(campaign, tally(failed=10), [], START)
    (bad,) = digest(over(tally(done=9, failed=1), to=to), [], START)
    (good,) = digest(over(tally(done=10), to=to), [], START)
    (begun,) = word_of_begin(campaign, [], START)
    assert [each.is_urgent for each in (early, bad, good, begun)] == [True, True, False, False]
    assert (early.due_at, bad.due_at, good.due_at) == (START, START, datetime(2026, 11, 22, 8, tzinfo=UTC))


def test_a_notice_of_a_group_says_whose_it_is() -> None:
    counts = tally(done=5)
    campaign = over(counts, to=replace(ADA, recipient="grace@example.org", origin="watch", person="grace"))
    (delivery,) = digest(campaign, [], START)
    notice = describe_group(campaign, counts, (), delivery, LINKS, "Lab")
    assert (notice.headline, notice.why) == ("A group of ada is done", "You watch its group or its queue.")


def test_the_three_words_go_out_in_order() -> None:
    words = [
        *word_of_begin(CAMPAIGN, [], START), *word_of_failing(CAMPAIGN, tally(failed=10), [], START),
        *digest(over(tally(failed=10)), [], START),
    ]  # fmt: skip
    assert [each.seq for each in words] == [1, 2, 3]
    assert len({each.lane for each in words}) == 1


def test_a_member_is_read_as_it_was_written() -> None:
    to = Recipient(
        "matrix", "!room:example.org", "watch", Defaults(digest=True, threshold_seconds=5.0), "grace", "Europe/Berlin",
        QuietHours(time(22), time(7, 30)), frozenset({0, 4}), frozenset({Occasion.FAILED}),
    )  # fmt: skip
    for member in (Member(to, saw_begin=True), Member(ADA)):
        assert Member.from_document(member.to_document()) == member
    newer = Member(to).to_document()
    newer["wish"]["colour"] = newer["urgent"] = ["blue"]
    assert Member.from_document(newer) == Member(replace(to, urgent=frozenset()))


def test_members_are_kept_apart_by_channel_and_recipient() -> None:
    others = (Member(ADA), Member(replace(ADA, channel="matrix")), Member(replace(ADA, recipient="a.b$c@x.org")))
    assert len({each.key for each in others}) == 3
    assert Member(replace(ADA, wish=Defaults(done=False)), True).key == Member(ADA).key


def test_a_group_is_quiet_since_the_last_that_was_heard_of_it() -> None:
    later = START + timedelta(seconds=5)
    assert CAMPAIGN.quiet_since(Outcome(tally(done=1), None)) == START
    assert CAMPAIGN.quiet_since(Outcome(tally(done=1), later)) == later
    assert replace(CAMPAIGN, news_at=later).quiet_since(Outcome(tally(done=1), START)) == later


def described(
    campaign: Campaign, counts: Tally, occasion: Occasion, failed: tuple[FailedJob, ...] = (),
    person: str | None = "ada",
) -> Notice:  # fmt: skip
    delivery = Delivery(
        id="01", subject=campaign.subject, occasion=occasion, series=1, seq=1, channel="email",
        recipient="ada@example.org", status=DeliveryStatus.PLANNED, reason="", created_at=START, due_at=START,
        person=person, time_zone="Europe/Berlin",
    )  # fmt: skip
    return describe_group(campaign, counts, failed, delivery, LINKS, "Lab")


def test_what_a_digest_says() -> None:
    counts = tally(done=1487, failed=21)
    failed = tuple(FailedJob(f"01ABCDEFGHJKMNPQRSTVWX{n:04}", f"star {n}", f"no\nperiod {n}") for n in range(20))
    notice = described(over(counts), counts, Occasion.DIGEST, failed)
    assert notice.title == (
        "[Lab] digest: survey, 1,487 done, 21 failed, requested 2026-11-21 23:00 CET, group TVWXYZ00"
    )  # fmt: skip
    assert (notice.state, notice.headline) == ("failed", "Your group is over, with failures")
    assert notice.summary == "survey: 1,487 done, 21 failed, 3 h after the first request."
    (section,) = notice.sections
    assert section.rows[0] == (f"star 0 {failed[0].id[-8:]}", "no period 0")
    assert section.rows[-1] == ("…", "and 1 more")
    assert len(section.rows) == 21
    assert notice.command == "heliograph group survey --url https://heliograph.example.org"
    assert [link.label for link in notice.choices] == ["Mute this group", "Stop all messages"]
    assert notice.links[0].url == f"https://heliograph.example.org/jobs/{failed[0].id}#log"
    assert notice.unsubscribe
    assert ("Took", "3 h") in notice.outline
    assert notice.brief().sections == ()


@pytest.mark.parametrize(
    ("counts", "state", "headline"),
    [
        (tally(done=5), "done", "Your group is done"),
        (tally(done=5, cancelled=1), "cancelled", "Your group is over; some of it was cancelled"),
        (tally(done=5, failed=1, cancelled=1), "failed", "Your group is over, with failures"),
    ],
)
def test_the_state_of_a_digest_is_that_of_the_group(counts: Tally, state: str, headline: str) -> None:
    notice = described(over(counts), counts, Occasion.DIGEST)
    assert (notice.state, notice.headline, notice.sections, notice.links) == (state, headline, (), ())


def test_what_the_early_word_says() -> None:
    notice = described(CAMPAIGN, tally(done=7, failed=5, queued=1000), Occasion.FAILING)
    assert notice.summary == "survey: 5 of 12 failed so far, and 1,000 jobs are still to come."
    assert notice.state == "failing"


def test_what_the_beginning_says_holds_whenever_it_is_read() -> None:
    notice = described(over(tally(failed=3)), tally(failed=3), Occasion.SUBMITTED, (FailedJob("0" * 26, None, "no"),))
    assert "failed" not in notice.title + notice.summary + notice.headline
    assert notice.sections == ()


def test_a_reader_who_is_not_the_owner_is_told_whose_group_it_is() -> None:
    odd = replace(CAMPAIGN, owner="ada lovelace", group="o'clock; ls")
    assert described(odd, tally(), Occasion.SUBMITTED, person="ada lovelace").command == (
        """heliograph group 'o'"'"'clock; ls' --url https://heliograph.example.org"""
    )
    assert "--owner 'ada lovelace' " in (described(odd, tally(), Occasion.SUBMITTED, person=None).command or "")


def test_a_confidential_job_among_those_shown_makes_the_notice_so() -> None:
    failed = (FailedJob("0" * 26, "secret star", "no", is_confidential=True),)
    assert described(over(tally(failed=1)), tally(failed=1), Occasion.DIGEST, failed).is_confidential
    assert not described(CAMPAIGN, tally(failed=1), Occasion.SUBMITTED, failed).is_confidential
    assert described(replace(CAMPAIGN, is_confidential=True), tally(), Occasion.SUBMITTED).is_confidential


@pytest.mark.parametrize("name", ["token=eyJhbGciOi", "lab\u202egnp", "two\u2028lines", "a  b"])
def test_a_name_that_is_not_shown_whole_stands_in_no_command(name: str) -> None:
    assert described(replace(CAMPAIGN, group=name), tally(done=1), Occasion.SUBMITTED).command is None
    assert described(CAMPAIGN, tally(done=1), Occasion.SUBMITTED).command is not None
