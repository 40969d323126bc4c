"""Between preferences as they are stored and as a client writes them."""

from datetime import time
from typing import Any

from heliograph.notices.model import Wish
from heliograph.notices.preferences import Preferences, QuietHours
from heliograph.wire.preferences import ChannelPreferences, NotificationPreferences, Weekday, time_zones

_PLACES = {"email": "recipient", "matrix": "room"}  # what each channel calls its recipient
_DAYS = tuple(Weekday)


def shown(preferences: Preferences) -> NotificationPreferences:
    """Return stored preferences as a client reads them; channels that only a plug-in has are left out."""
    quiet, days = preferences.quiet_hours, preferences.working_days
    zone = preferences.time_zone if preferences.time_zone in time_zones() else None  # the list of zones changes
    stated: dict[str, Any] = {"time_zone": zone, "urgent": sorted(preferences.urgent) or None}
    for channel, place in _PLACES.items():
        if wish := preferences.wishes.get(channel):
            fields = wish.to_document()
            known = {name: value for name, value in fields.items() if name in ChannelPreferences.model_fields}
            if known.get("done_after_threshold") and _asks_for_done(known):
                del known["done_after_threshold"]  # so that it goes with what it followed from
            stated[channel] = known | ({place: wish.recipient} if wish.recipient else {})
    if quiet is not None:
        stated["quiet_hours"] = {"from": quiet.begin.isoformat("minutes"), "to": quiet.end.isoformat("minutes")}
    if days is not None:
        stated["working_days"] = [_DAYS[day] for day in sorted(days)]
    return NotificationPreferences.model_validate(stated)


def stored(preferences: NotificationPreferences, before: Preferences) -> Preferences:
    """Return what is to be stored in place of ``before``, whose other channels stay."""
    wishes = {channel: wish for channel, wish in before.wishes.items() if channel not in _PLACES}
    for channel, place in _PLACES.items():
        if fields := preferences.stated().get(channel):
            wishes[channel] = _wish(channel, fields.pop(place, ""), fields)
    quiet, days = preferences.quiet_hours, preferences.working_days
    return Preferences(
        before.person, wishes, preferences.time_zone,
        QuietHours(time.fromisoformat(quiet.begin), time.fromisoformat(quiet.end)) if quiet else None,
        None if days is None else frozenset(_DAYS.index(day) for day in days),
        frozenset(preferences.urgent or ()),
    )  # fmt: skip


def _wish(channel: str, recipient: str, fields: dict[str, Any]) -> Wish:
    """Return a wish; who asks for *done*, or says from when on, means it, whatever the token's claims have of it."""
    if _asks_for_done(fields):
        fields.setdefault("done_after_threshold", True)
    return Wish.from_document({"channel": channel, "recipient": recipient, **fields})


def _asks_for_done(fields: dict[str, Any]) -> bool:
    return bool(fields.get("done") or ("done" not in fields and "threshold_seconds" in fields))
