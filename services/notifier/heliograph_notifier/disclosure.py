"""What may be said where others might read it.

A channel that is encrypted all the way to its reader may carry everything. Elsewhere the operator's rule for the
channel decides, and where there is none, what is left is the outline: that it happened, to what, and when. What was
submitted as confidential never says more than that on such a channel.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from heliograph.channels import Notice, Refused


class Disclosure(StrEnum):
    """How much of a notice may be said."""

    FULL = "full"
    OUTLINE = "outline"
    NOTHING = "nothing"


USUAL: Mapping[str, Disclosure] = MappingProxyType({"email": Disclosure.FULL, "matrix": Disclosure.FULL})


def disclosures(words: Iterable[str]) -> dict[str, Disclosure]:
    """Read rules as they are set, such as ``email=outline``; channels that they do not name keep the usual ones.

    ``ValueError`` says which of them is none.
    """
    found = dict(USUAL)
    for word in words:
        channel, _, rule = word.partition("=")
        if not channel or rule not in set(Disclosure):
            raise ValueError(f"{word} is not a channel and one of full, outline and nothing, such as email=full")
        found[channel] = Disclosure(rule)
    return found


def allowed(
    rules: Mapping[str, Disclosure], channel: str, *, is_private: bool, is_confidential: bool
) -> Disclosure:  # fmt: skip
    """Return how much of a notice may be said over a channel; a channel that no rule names gets the outline."""
    if is_private:
        return Disclosure.FULL
    rule = rules.get(channel, Disclosure.OUTLINE)
    return Disclosure.OUTLINE if is_confidential and rule is Disclosure.FULL else rule


def disclosed(notice: Notice, how: Disclosure) -> Notice:
    """Return what may be said of a notice.

    Raises
    ------
    Refused
        Nothing.
    """
    match how:
        case Disclosure.FULL:
            return notice
        case Disclosure.OUTLINE:
            return notice.brief()
        case Disclosure.NOTHING:
            raise Refused("not sent by the rule of confidentiality: nothing may be said on this channel")
