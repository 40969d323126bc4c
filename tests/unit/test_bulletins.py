"""Whom a report and a test reach, and why not: pure rules."""

from datetime import UTC, datetime, timedelta

from heliograph.notices.bulletins import Bulletin
from heliograph.notices.model import Delivery, DeliveryStatus, Occasion, SubjectKind, Wish
from heliograph.notices.mutes import Mute, MuteScope
from heliograph_notifier.bulletins import of_incident, of_test
from heliograph_notifier.rules import muted

START = datetime(2026, 11, 21, 22, tzinfo=UTC)
CLOCK = START + timedelta(seconds=1)
OPS = (Wish("email", "ops@example.org"), Wish("matrix", "!ops:example.org"), Wish("email", "ops@example.org"))


def trial(*wishes: Wish) -> Bulletin:
    return Bulletin("01T", SubjectKind.TEST, "ada", START, wishes=wishes, time_zone="Europe/Berlin")


def verdicts(deliveries: list[Delivery]) -> list[tuple[str, str, bool, str]]:
    return [
        (each.channel, each.recipient, each.status is DeliveryStatus.PLANNED, each.reason.partition(":")[0])
        for each in deliveries
    ]


def test_a_report_goes_to_each_operator_once_and_at_once() -> None:
    found = of_incident(
        Bulletin("01I", SubjectKind.INCIDENT, "ada", START, "it burns"), OPS, ("email", "matrix"), CLOCK
    )
    assert verdicts(found) == [
        ("email", "ops@example.org", True, "incident"),
        ("matrix", "!ops:example.org", True, "incident"),
    ]
    assert all(each.is_urgent and each.due_at == CLOCK for each in found)
    assert {each.occasion for each in found} == {Occasion.INCIDENT}


def test_a_report_over_a_channel_that_is_not_set_up_is_not_left_waiting() -> None:
    found = of_incident(Bulletin("01I", SubjectKind.INCIDENT, "ada", START, "it burns"), OPS, ("email",), CLOCK)
    assert [(told, word) for _, _, told, word in verdicts(found)] == [(True, "incident"), (False, "no-channel")]


def test_nobody_is_told_of_a_report_where_nobody_is_configured() -> None:
    assert of_incident(Bulletin("01I", SubjectKind.INCIDENT, "ada", START), (), ("email",), CLOCK) == []


def test_a_test_says_for_each_channel_whether_it_brings_something_and_why_not() -> None:
    wishes = (Wish("email", "ada@example.org"), Wish("matrix", ""), Wish("sms", "+49"))
    found = of_test(trial(*wishes), {"email", "matrix", "apprise"}, [], CLOCK)
    assert verdicts(found) == [
        ("email", "ada@example.org", True, "test"),
        ("sms", "+49", False, "no-channel"),
        ("apprise", "", False, "no-recipient"),
        ("matrix", "", False, "no-recipient"),
    ]
    assert found[0].reason == "test: asked for by ada"
    assert found[2].reason.endswith("submissions and the contact directory name who is reached over it")
    assert found[3].reason.endswith("the token and the preferences name none")
    assert (found[0].person, found[0].time_zone, found[0].is_urgent) == ("ada", "Europe/Berlin", True)
    assert found[1].reason.endswith("the channels are: apprise, email, matrix")


def test_a_test_says_that_its_asker_hears_nothing_since_they_muted_it() -> None:
    mute = Mute("1", MuteScope.ALL, "an unsubscribe link", START, channel="email", recipient="ada@example.org")
    (delivery,) = of_test(trial(Wish("email", "ada@example.org")), {"email"}, [mute], CLOCK)
    assert (delivery.status, delivery.reason) == (DeliveryStatus.SUPPRESSED, muted(mute))
