"""What a person prefers to be told, whatever their tokens say: stored once, read whenever a notice is planned."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import time
from typing import Any, Self

from heliograph.errors import ConflictError
from heliograph.notices.model import Occasion, Wish
from heliograph.storage import Database, DuplicateError
from heliograph.storage.errors import translated

PREFERENCES = "preferences"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TRIES = 100  # each loses to another change of the same person's in the same milliseconds


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From when until when nothing is sent, by the person's own clock; it may pass midnight."""

    begin: time
    end: time


@dataclass(frozen=True, slots=True)
class Preferences:
    """One person's preferences.

    ``wishes`` has at most one for each channel; an empty recipient there is the one that the token names.
    ``working_days`` are those on which notices are sent (0 is Monday); None is every day. The occasions of ``urgent``
    are told at any hour.
    """

    person: str
    wishes: Mapping[str, Wish] = field(default_factory=dict)
    time_zone: str | None = None
    quiet_hours: QuietHours | None = None
    working_days: frozenset[int] | None = None
    urgent: frozenset[Occasion] = frozenset()

    def to_document(self) -> dict[str, Any]:
        """Write them as they are stored."""
        return {
            "_id": self.person, "wishes": [wish.to_document() for wish in self.wishes.values()],
            "time_zone": self.time_zone,
            "quiet_hours": [self.quiet_hours.begin.isoformat("minutes"), self.quiet_hours.end.isoformat("minutes")]
            if self.quiet_hours else None,
            "working_days": sorted(self.working_days) if self.working_days is not None else None,
            "urgent": sorted(each.value for each in self.urgent),
        }  # fmt: skip

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read them; an occasion that is not known here is passed over."""
        quiet, days = document.get("quiet_hours"), document.get("working_days")
        known = {each.value: each for each in Occasion}
        wishes = (Wish.from_document(each) for each in document.get("wishes", ()))
        return cls(
            document["_id"], {wish.channel: wish for wish in wishes}, document.get("time_zone"),
            QuietHours(time.fromisoformat(quiet[0]), time.fromisoformat(quiet[1])) if quiet else None,
            frozenset(days) if days is not None else None,
            frozenset(known[each] for each in document.get("urgent", ()) if each in known),
        )  # fmt: skip


class PreferenceStore:
    """Keeps people's preferences."""

    def __init__(self, database: Database) -> None:
        self._preferences = database.collection(PREFERENCES)

    async def get(self, person: str) -> Preferences:
        """Return a person's preferences; those of somebody who never stated any are empty."""
        return (await self.several([person])).get(person, Preferences(person))

    async def several(self, people: Iterable[str]) -> dict[str, Preferences]:
        """Return the preferences of those of these people who stated some."""
        wanted = list(people)
        with translated():
            found = await self._preferences.find({"_id": {"$in": wanted}}).to_list(None) if wanted else []
        return {document["_id"]: Preferences.from_document(document) for document in found}

    async def change(self, person: str, change: Callable[[Preferences], Preferences]) -> Preferences:
        """Replace a person's preferences by what ``change`` makes of them, and return that.

        What others change meanwhile is not lost: it is then made anew from what they left.
        """
        for _ in range(_TRIES):
            with translated():
                found = await self._preferences.find_one({"_id": person})
            version = found.get("version") if found else None
            changed = change(Preferences.from_document(found) if found else Preferences(person))
            document = changed.to_document() | {"version": (version or 0) + 1}
            with suppress(DuplicateError), translated():  # somebody else stored the first ones
                result = await self._preferences.replace_one(
                    {"_id": person, "version": version}, document, upsert=found is None
                )
                if result.matched_count or result.upserted_id is not None:
                    return changed
        raise ConflictError("these preferences change all the time; try again")
