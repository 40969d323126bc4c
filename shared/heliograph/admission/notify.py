"""Who is to be told of a submission, as far as the caller's token and the submission say."""

from heliograph.errors import InvalidInputError
from heliograph.identity.identity import Identity
from heliograph.identity.roles import Action, roles_that_may
from heliograph.notices.addresses import is_recipient
from heliograph.notices.claims import claimed_wishes, time_zone_of
from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest, Notify
from heliograph.wire.submission import ChannelWishes, NotifyWishes


def notify_of(asked: bool | NotifyWishes, caller: Identity) -> Notify:
    """Return what a job keeps of who is to be told.

    Raises
    ------
    InvalidInputError
        It names others, which the caller's roles do not allow, or something that is no recipient.
    """
    if asked is False:
        return Notify(is_told=False)
    claimed = () if caller.is_anonymous else claimed_wishes(caller.claims)
    told = Notify(claimed=claimed, time_zone=time_zone_of(caller.claims))
    if asked is True:
        return told
    _require_role(asked, caller)
    by_channel = {"email": asked.email, "matrix": asked.matrix}
    return Notify(
        claimed=told.claimed, time_zone=told.time_zone,
        asked=tuple(wished(channel, each) for channel, each in by_channel.items() if each) if claimed else (),
        named=tuple(_named(asked)),
        contacts=tuple(ContactRequest(each.subject, each.roles) for each in asked.contacts),
        is_urgent=asked.urgent, is_confidential=asked.confidential,
    )  # fmt: skip


def wished(channel: str, asked: ChannelWishes, recipient: str = "") -> Wish:
    """Return what was asked for on a channel as a wish.

    Who asks for *done*, or says from when on, means it: also where the token's ``mstout`` would not have it.
    """
    fields = asked.model_dump(exclude_none=True, exclude={"channel", "recipient"})
    if asked.done or (asked.done is None and asked.threshold_seconds is not None):
        fields["done_after_threshold"] = True
    return Wish.from_document({"channel": channel, "recipient": recipient, **fields})


def _require_role(asked: NotifyWishes, caller: Identity) -> None:
    if (asked.recipients or asked.contacts) and not caller.may(Action.NAME_RECIPIENTS):
        who = ", ".join(roles_that_may(Action.NAME_RECIPIENTS))
        field = "notify.recipients" if asked.recipients else "notify.contacts"
        raise InvalidInputError.of(field, f"to have others told takes one of these roles: {who}")


def _named(asked: NotifyWishes) -> list[Wish]:
    found = []
    for place, each in enumerate(asked.recipients):
        if not is_recipient(each.channel, each.recipient):
            raise InvalidInputError.of(
                f"notify.recipients.{place}.recipient", f"this is no recipient on the channel {each.channel}"
            )
        found.append(wished(each.channel, each, each.recipient))
    return found
