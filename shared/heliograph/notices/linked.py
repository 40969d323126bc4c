"""Matrix users whom people have linked to their accounts, and the rooms in which these were seen to be.

A person asks for a code and says it to the bot as the Matrix user: so each side has shown that it is theirs. A room
is proven when a linked user speaks to the bot in it.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from heliograph.notices.preferences import Preferences, PreferenceStore
from heliograph.storage import Database, DuplicateError, Index
from heliograph.storage.errors import translated

LINKED = "linked_users"
CODE_LIFETIME = timedelta(minutes=15)
MOST_TRIES = 5  # wrong codes from one Matrix user while a code is open
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0, 1, I and O, which are mistaken for others
_CODE_CHARACTERS = 10  # 32**10: nobody guesses one within five tries
_MOST_ROOMS = 50
_INDEXES = (
    Index("user", (("user", 1),), {"unique": True, "sparse": True}),
    Index("challenged", (("challenge.user", 1),), {"sparse": True}),
)


@dataclass(frozen=True, slots=True)
class Link:
    """A person, the Matrix user that is linked to them, if one is, and the rooms that are proven."""

    person: str
    user: str | None
    rooms: tuple[str, ...] = ()
    linked_at: datetime | None = None


class LinkedUsers:
    """Keeps one document for each person."""

    def __init__(self, database: Database) -> None:
        self._links = database.collection(LINKED)
        self._preferences = PreferenceStore(database)

    async def challenge(self, person: str, user: str) -> str:
        """Return a code with which the Matrix user ``user`` can link itself to ``person``; the last one counts."""
        code = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE_CHARACTERS))
        until = {"$add": ["$$NOW", int(CODE_LIFETIME / timedelta(milliseconds=1))]}
        challenge = {"user": {"$literal": user}, "code": _digest(code), "until": until, "tries": {"$literal": 0}}
        with translated():
            await self._links.update_one({"_id": person}, [{"$set": {"challenge": challenge}}], upsert=True)
        return f"{code[:5]}-{code[5:]}"

    async def redeem(self, user: str, code: str) -> str | None:
        """Link a Matrix user to the person whose code it says, and return that person; None for a wrong code.

        Every open challenge counts the try in the write that compares: of any number at once, five are heard.
        """
        spoken = _digest("".join(each for each in code.upper() if each.isalnum()))
        is_open = {
            "challenge.user": user, "challenge.tries": {"$lt": MOST_TRIES},
            "$expr": {"$gt": ["$challenge.until", "$$NOW"]},
        }  # fmt: skip
        tried = {
            "challenge.tries": {"$add": ["$challenge.tries", 1]},
            "challenge.is_met": {"$eq": ["$challenge.code", {"$literal": spoken}]},
        }
        with translated():
            await self._links.update_many(is_open, [{"$set": tried}])
            found = await self._links.find_one(_met(user, spoken), {"_id": 1})
        return await self._link(found["_id"], user, spoken) if found else None

    async def person_of(self, user: str) -> str | None:
        """Return whom a Matrix user is linked to."""
        with translated():
            found = await self._links.find_one({"user": user}, {"_id": 1})
        return found["_id"] if found else None

    async def of_person(self, person: str) -> Link:
        """Return what is linked to a person."""
        with translated():
            found = await self._links.find_one({"_id": person}) or {}
        return Link(person, found.get("user"), tuple(found.get("rooms", ())), found.get("linked_at"))

    async def prove_room(self, person: str, room: str) -> None:
        """Note that a person's linked user was seen in a room."""
        with translated():
            await self._links.update_one({"_id": person, "user": {"$exists": True}, "rooms": {"$ne": room}}, {
                "$push": {"rooms": {"$each": [room], "$slice": -_MOST_ROOMS}},
            })  # fmt: skip

    async def unlink(self, person: str) -> bool:
        """Forget a person's Matrix user, rooms and open challenge; return whether a user was linked.

        From then on they are not told in these rooms, also where their preferences name one.
        """
        await self._leave((await self.of_person(person)).rooms, person)
        with translated():
            found = await self._links.find_one_and_delete({"_id": person})
        return bool(found and "user" in found)

    async def _leave(self, rooms: Iterable[str], person: str) -> None:
        """Take rooms that are not proven any more out of a person's preferences."""
        left = frozenset(rooms)

        def without(preferences: Preferences) -> Preferences:
            kept = {
                channel: replace(wish, recipient="") if wish.recipient in left else wish
                for channel, wish in preferences.wishes.items()
            }
            return replace(preferences, wishes=kept)

        stated = await self._preferences.get(person)
        if without(stated) != stated:
            await self._preferences.change(person, without)

    async def _link(self, person: str, user: str, spoken: str) -> str | None:
        linked = {"user": {"$literal": user}, "linked_at": "$$NOW", "rooms": []}
        former = {"user": user, "_id": {"$ne": person}}
        try:
            with translated():
                await self._links.update_many(former, {"$unset": {"user": "", "rooms": "", "linked_at": ""}})
                result = await self._links.update_one(
                    {"_id": person, **_met(user, spoken)}, [{"$set": linked}, {"$unset": "challenge"}]
                )
        except DuplicateError:
            return None  # linked elsewhere at the same moment
        return person if result.matched_count else None


def _met(user: str, spoken: str) -> dict[str, object]:
    return {"challenge.user": user, "challenge.code": spoken, "challenge.is_met": True}


def _digest(code: str) -> str:
    return sha256(code.encode()).hexdigest()


async def ensure_linked_indexes(database: Database) -> None:
    """Create the index over linked users where it is missing."""
    await database.ensure_indexes(LINKED, _INDEXES)
