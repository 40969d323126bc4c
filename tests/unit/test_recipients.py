"""Who may be told, and whose word counts: the precedence as a table."""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, time
from typing import Any

import pytest

from heliograph.jobs.model import Job
from heliograph.jobs.states import State
from heliograph.notices.model import Occasion, Wish
from heliograph.notices.notify import Notify
from heliograph.notices.preferences import Preferences, QuietHours
from heliograph.notices.watches import Watch, WatchKind
from heliograph_notifier.recipients import Defaults, Recipient, Sources, people, recipients

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
ADA, GRACE, OPS = "ada@example.org", "grace@example.org", "ops@example.org"
ROOM = "!room:example.org"
JOB = Job(
    id="01ABCDEFGHJKMNPQRSTVWXYZ00", queue="periodogram", owner="ada", state=State.DONE, series=1, seq=3, attempt=1,
    max_attempts=3, priority=0, parameters={}, group="night 7", created_at=START, updated_at=START,
)  # fmt: skip
CLAIMED = (Wish("email", ADA), Wish("matrix"))  # what a token without any claim of notices amounts to
TOKEN = Notify(claimed=CLAIMED)


def watch(person: str = "grace", **stated: Any) -> Watch:
    values: dict[str, Any] = {"kind": WatchKind.QUEUE, "of": "periodogram", "owner": None} | stated
    claimed = values.pop("claimed", (Wish("email", f"{person}@example.org"), Wish("matrix")))
    return Watch(f"01{person}", person, created_at=START, claimed=claimed, **values)


def preferring(person: str = "ada", *wishes: Wish, **stated: Any) -> dict[str, Preferences]:
    return {person: Preferences(person, {wish.channel: wish for wish in wishes}, **stated)}


def told(notify: Notify = TOKEN, job: Job = JOB, **known: Any) -> list[Recipient]:
    return recipients(job, notify, Sources(**known))


def who(found: Sequence[Recipient]) -> list[tuple[str, str, str]]:
    return [(each.origin, each.channel, each.recipient) for each in found]


# Each field by itself: the first that states it prevails.

SETTABLE = [each.name for each in fields(Defaults)]
NAMES = ("submission", "preferences", "claims", "defaults")


@pytest.mark.parametrize("field", SETTABLE)
@pytest.mark.parametrize("stating", range(16))
def test_the_first_that_states_a_field_prevails(field: str, stating: int) -> None:
    """For every field, every set of those who state it."""
    is_time = field.endswith("_seconds")
    values: dict[str, Any] = dict(
        zip(NAMES, (301.0, 302.0, 303.0, 304.0) if is_time else (True, False, True, False), strict=True)
    )
    stated = [name for place, name in enumerate(NAMES) if stating >> place & 1]

    def says(name: str) -> dict[str, Any]:
        return {field: values[name]} if name in stated else {}

    def wish(name: str, recipient: str = "") -> Wish:
        return Wish("email", recipient, **says(name))

    defaults = {"email": Defaults(**says("defaults"))}
    notify = Notify(claimed=(wish("claims", ADA), Wish("matrix")), asked=(wish("submission"),))
    (found,) = told(notify, preferences=preferring("ada", wish("preferences")), defaults=defaults)
    expected = {field: values[stated[0]]} if stated else {}
    assert found.wish == Defaults(**expected)


@pytest.mark.parametrize(
    ("asked", "preferred", "claimed", "expected"),
    [
        ("", "", ADA, ADA),
        ("", GRACE, ADA, GRACE),
        (OPS, GRACE, ADA, OPS),
        (OPS, "", "", OPS),
        ("", GRACE, "", GRACE),
        ("", "", "", None),
    ],
)
def test_so_does_the_first_that_names_the_recipient(
    asked: str, preferred: str, claimed: str, expected: str | None
) -> None:
    notify = Notify(claimed=(Wish("email", claimed), Wish("matrix")), asked=(Wish("email", asked),))
    found = told(notify, preferences=preferring("ada", Wish("email", preferred)))
    assert [each.recipient for each in found] == ([expected] if expected else [])


def test_what_one_states_leaves_the_rest_to_the_next() -> None:
    notify = Notify(
        claimed=(Wish("email", ADA, failed=False, done=False, submitted=False), Wish("matrix")),
        asked=(Wish("email", failed=True),),
    )
    (found,) = told(notify, preferences=preferring("ada", Wish("email", GRACE, done=True)))
    assert (found.recipient, found.wish) == (GRACE, replace(Defaults(), submitted=False))


def test_each_channel_has_its_own_wishes_and_defaults() -> None:
    notify = Notify(claimed=(Wish("email", ADA, failed=False), Wish("matrix", ROOM, submitted=False)))
    email, matrix = told(notify, defaults={"matrix": Defaults(threshold_seconds=5)})
    assert email.wish == Defaults(failed=False)
    assert matrix.wish == Defaults(submitted=False, threshold_seconds=5)


def test_preferences_may_name_a_channel_that_no_token_knows() -> None:
    found = told(preferences=preferring("ada", Wish("pager", "desk 7")))
    assert ("owner", "pager", "desk 7") in who(found)


def test_a_person_brings_clock_and_quiet_time_to_every_channel() -> None:
    quiet, days, urgent = QuietHours(time(22), time(7)), frozenset(range(5)), frozenset({Occasion.FAILED})
    known = preferring("ada", time_zone="Europe/Zurich", quiet_hours=quiet, working_days=days, urgent=urgent)
    notify = Notify(claimed=(Wish("email", ADA), Wish("matrix", ROOM)), time_zone="America/New_York")
    for each in told(notify, preferences=known):
        assert (each.person, each.time_zone) == ("ada", "Europe/Zurich")
        assert (each.quiet_hours, each.working_days, each.urgent) == (quiet, days, urgent)
    assert {each.time_zone for each in told(notify)} == {"America/New_York"}


# Others.


def test_named_recipients_and_contacts_have_their_own_wishes_and_nobodys_preferences() -> None:
    notify = replace(TOKEN, named=(Wish("email", GRACE, failed=False),))
    _, named, contact = told(
        notify,
        contacts=[Wish("email", "lab@example.org", done=False)],
        preferences=preferring("grace", Wish("email", GRACE, done=False), quiet_hours=QuietHours(time(0), time(9))),
    )
    assert named == Recipient("email", GRACE, "submission", Defaults(failed=False))
    assert contact == Recipient("email", "lab@example.org", "contact", Defaults(done=False))


@pytest.mark.parametrize(
    ("over", "covers"),
    [
        (watch(), True),
        (watch(of="another"), False),
        (watch(owner="ada"), True),
        (watch(owner="grace"), False),  # may see their own jobs only, and this is another's
        (watch(kind=WatchKind.GROUP, of="night 7"), True),
        (watch(kind=WatchKind.GROUP, of="night 7", owner="ada"), True),
        (watch(kind=WatchKind.GROUP, of="night 7", owner="grace"), False),
        (watch(kind=WatchKind.GROUP, of="periodogram"), False),  # a queue's name is no group's
        (watch(kind=WatchKind.QUEUE, of="night 7"), False),
    ],
)
def test_a_watch_covers_its_queue_or_group(over: Watch, covers: bool) -> None:
    assert (("watch", "email", GRACE) in who(told(watches=[over]))) is covers
    assert people(JOB, TOKEN, [over]) == ({"ada", "grace"} if covers else {"ada"})


def test_no_watch_covers_a_job_without_a_group_by_having_none() -> None:
    assert len(told(job=replace(JOB, group=None), watches=[watch(kind=WatchKind.GROUP, of="night 7")])) == 1


def test_a_watcher_has_their_watch_then_their_preferences_then_their_claims() -> None:
    over = watch(
        asked=(Wish("email", failed=True),), claimed=(Wish("email", GRACE, failed=False, done=False, submitted=False),),
        time_zone="America/New_York",
    )  # fmt: skip
    _, watcher = told(watches=[over], preferences=preferring("grace", Wish("email", done=True)))
    assert watcher == Recipient(
        "email", GRACE, "watch", Defaults(submitted=False), person="grace", time_zone="America/New_York"
    )


def test_who_watches_their_own_job_comes_up_once_and_the_submission_goes_first() -> None:
    own = watch("ada", asked=(Wish("email", failed=True, threshold_seconds=0),))
    notify = replace(TOKEN, asked=(Wish("email", failed=False),))
    known = preferring("ada", Wish("email", threshold_seconds=60, submitted=False))
    (found,) = told(notify, watches=[own], preferences=known)
    assert (found.origin, found.wish) == ("owner", Defaults(failed=False, threshold_seconds=0, submitted=False))


# Copies for the operators.


def test_a_copy_follows_the_owners_wishes() -> None:
    notify = Notify(claimed=(Wish("email", ADA, failed=False), Wish("matrix", ROOM, done=False)))
    *_, mail, room, pager = told(notify, copies=[Wish("email", OPS), Wish("matrix", "!ops"), Wish("pager", "desk")])
    assert mail == Recipient("email", OPS, "operator", Defaults(failed=False))
    assert room == Recipient("matrix", "!ops", "operator", Defaults(done=False))
    assert pager == Recipient("pager", "desk", "operator", Defaults(failed=False))


def test_a_copy_follows_what_the_owner_wishes_on_its_channel_where_nobody_is_known_there() -> None:
    """Tokens say what to tell over Matrix also where they name no room: that is for the copies."""
    claimed = (Wish("email", ADA), Wish("matrix", submitted=False, done=False))
    defaults = {"email": Defaults(interval_seconds=60), "matrix": Defaults(interval_seconds=1800)}
    owner, copy = told(Notify(claimed=claimed), copies=[Wish("matrix", "!ops")], defaults=defaults)
    assert owner == Recipient("email", ADA, "owner", Defaults(interval_seconds=60), person="ada")
    assert copy == Recipient("matrix", "!ops", "operator", Defaults(submitted=False, done=False, interval_seconds=1800))
    (copy,) = told(Notify(claimed=(Wish("email", failed=False),)), copies=[Wish("email", OPS)])
    assert copy.wish == Defaults(failed=False)
    asked = Notify(claimed=claimed, asked=(Wish("matrix", done=True),))
    *_, copy = told(asked, copies=[Wish("matrix", "!ops")], preferences=preferring("ada", Wish("matrix", failed=False)))
    assert copy.wish == Defaults(submitted=False, done=True, failed=False)


def test_where_the_owner_cannot_be_told_a_copy_goes_by_the_platforms_defaults() -> None:
    found = told(
        Notify(claimed=(Wish("email"), Wish("matrix"))), copies=[Wish("email", OPS)],
        defaults={"email": Defaults(failed=False)},
    )  # fmt: skip
    assert found == [Recipient("email", OPS, "operator", Defaults(failed=False))]


# Without a token.

STRANGER = Notify()


def test_of_what_came_without_a_token_neither_owner_nor_operators_are_told() -> None:
    """The owner is then a word that all strangers share: also where a person of that name has preferences."""
    known = preferring("anonymous", Wish("email", ADA))
    assert told(STRANGER, replace(JOB, owner="anonymous"), preferences=known, copies=[Wish("email", OPS)]) == []
    assert people(replace(JOB, owner="anonymous"), STRANGER, []) == set()


def test_who_watches_it_is_told() -> None:
    assert who(told(STRANGER, watches=[watch()])) == [("watch", "email", GRACE)]
