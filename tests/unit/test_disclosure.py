"""How much is said where: a table over the operator's rule, the privacy of the channel and what was submitted."""

from dataclasses import replace
from itertools import product

import pytest

from heliograph.channels import File, Notice, Refused, Section
from heliograph.notices.model import Occasion, Subject
from heliograph_notifier.disclosure import Disclosure, allowed, disclosed, disclosures

FULL, OUTLINE, NOTHING = Disclosure
NOTICE = Notice(
    subject=Subject.of_job("J"), occasion=Occasion.FAILED, state="failed", short_id="J", product="spectrum",
    title="failed: spectrum", headline="It failed", summary="It failed after 3 s", thread="job.j",
    outline=(("Job", "J"),), message="reading NGC 1068", error="no such star", command="heliograph show J",
    sections=(Section("What was asked", (("target", "NGC 1068"),)),), files=(File("NGC1068.fits", "3 MB"),),
    snippet="client.submit('NGC 1068')",
)  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "is_confidential", "how"),
    [
        (FULL, False, FULL), (FULL, True, OUTLINE), (OUTLINE, False, OUTLINE), (OUTLINE, True, OUTLINE),
        (NOTHING, False, NOTHING), (NOTHING, True, NOTHING), (None, False, OUTLINE), (None, True, OUTLINE),
    ],
)  # fmt: skip
def test_an_open_channel_says_what_its_rule_allows(
    rule: Disclosure | None, is_confidential: bool, how: Disclosure
) -> None:
    rules = {"email": rule} if rule else {"another": FULL}
    assert allowed(rules, "email", is_private=False, is_confidential=is_confidential) is how


@pytest.mark.parametrize(("rule", "is_confidential"), list(product(Disclosure, [True, False])))
def test_a_private_channel_says_all(rule: Disclosure, is_confidential: bool) -> None:
    assert allowed({"matrix": rule}, "matrix", is_private=True, is_confidential=is_confidential) is FULL


def test_an_outline_holds_nothing_of_the_work() -> None:
    said = disclosed(NOTICE, OUTLINE)
    assert "1068" not in repr(said)
    assert "star" not in repr(said)
    assert (said.title, said.outline) == (NOTICE.title, NOTICE.outline)
    assert disclosed(NOTICE, FULL) == NOTICE == replace(NOTICE)


def test_nothing_is_a_refusal_that_names_its_rule() -> None:
    with pytest.raises(Refused, match="by the rule of confidentiality"):
        disclosed(NOTICE, NOTHING)


@pytest.mark.parametrize("word", ["email", "email=some", "=full", "full", "email=full=full"])
def test_a_rule_that_is_none_is_named(word: str) -> None:
    with pytest.raises(ValueError, match="is not a channel and one of full, outline and nothing"):
        disclosures(["matrix=full", word])


def test_channels_that_no_rule_names_keep_the_usual_ones() -> None:
    assert disclosures([]) == {"email": FULL, "matrix": FULL}
    assert disclosures(["apprise=full"]) == {"email": FULL, "matrix": FULL, "apprise": FULL}
    assert disclosures(["email=nothing"]) == {"email": NOTHING, "matrix": FULL}
