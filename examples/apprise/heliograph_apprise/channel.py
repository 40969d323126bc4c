"""Notices over Apprise: Slack, Telegram, SMS and a hundred others, to places that the operator names.

A recipient is a tag of the operator's own file. Users name tags and never addresses: with those they could have the
notifier call any host that it reaches.
"""

import logging
from pathlib import Path

import apprise
from typing_extensions import override

from heliograph.channels import Channel, ChannelContext, Notice, OutcomeUnknown, Refused
from heliograph.notices.model import Delivery, Policy

_ANY = frozenset({"all", "always"})  # words of Apprise itself, which reach more than one place


class AppriseChannel(Channel):
    """Sends through Apprise; nothing of it is encrypted all the way, so that an outline is what goes by default.

    At most once: Apprise says whether a place took a message, and not why one did not, which may be that its answer
    was lost.
    """

    name = "apprise"

    def __init__(self, config: Path) -> None:
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses, which hold passwords
        self._config = config
        try:
            config.read_bytes()
        except OSError as error:
            raise ValueError(f"{config} cannot be read: {error.strerror}") from error
        if not self._places():
            raise ValueError(f"{config} names no place that Apprise knows")

    @classmethod
    def of(cls, context: ChannelContext) -> "AppriseChannel | None":
        """Open the channel; None without ``HELIOGRAPH_CHANNEL_APPRISE_CONFIG``, a file of Apprise's own format."""
        config = context.options.get("config")
        return cls(Path(config)) if config else None

    @override
    def after_unknown(self, delivery: Delivery, backend: str | None) -> Policy:
        """Leave it to people: Apprise's messages carry nothing by which a second copy could be recognised."""
        return Policy.AT_MOST_ONCE

    @override
    async def send(self, notice: Notice, delivery: Delivery) -> str:
        """Send to the places that have the recipient's tag."""
        places = self._places()
        known = {str(tag) for place in places.find() for tag in place.tags} - _ANY
        if delivery.recipient not in known:
            raise Refused(f"no place is called {delivery.recipient} in the operator's file")
        is_taken = await places.async_notify(body=text(notice), title=notice.title, tag=delivery.recipient)
        if not is_taken:
            raise OutcomeUnknown("not every place took it, as far as Apprise knows")
        return "taken"

    def _places(self) -> apprise.Apprise:
        """Read the file, so that a change of it needs no restart."""
        config = apprise.AppriseConfig()
        config.add(str(self._config))
        places = apprise.Apprise()
        places.add(config)
        return places


def text(notice: Notice) -> str:
    """Return a notice as a few lines of text."""
    lines = [notice.summary, *(part for part in (notice.message, notice.error) if part)]
    for name, value in notice.outline:
        lines.append(f"{name}: {value}")
    lines += [f"{link.label}: {link.url}" for link in notice.links]
    return "\n".join(lines)
