"""The port of contact directories, and what they say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from heliograph.notices.model import Wish
from heliograph.notices.notify import ContactRequest


class ContactsUnavailableError(Exception):
    """The contact directory cannot be read now.

    The message says why, without the words of a query or of an address. ``lasting`` is for how long it has been away
    without a break, as far as this process has seen.
    """

    def __init__(self, message: str, lasting: timedelta = timedelta()) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody who belongs to a subject: in which role, if in any, and a wish for each of their channels."""

    role: str | None
    wishes: tuple[Wish, ...]


class Contacts(Protocol):
    """A directory of people by what they work on."""

    async def find(self, request: ContactRequest) -> Sequence[Wish]:
        """Return whom it names, as wishes with a channel and a recipient; nobody is no error.

        Raises
        ------
        ContactsUnavailableError
            It cannot be read now.
        """
        ...

    async def close(self) -> None:
        """Give up what it holds."""
        ...


class Source(Protocol):
    """Where a directory that is not at hand has its people from."""

    async def named(self, subject: str) -> Sequence[Contact]:
        """Return everybody who belongs to a subject.

        Raises
        ------
        ContactsUnavailableError
            It cannot be asked now.
        """
        ...

    async def close(self) -> None:
        """Give up what it holds."""
        ...


def in_roles(contacts: Iterable[Contact], roles: Sequence[str]) -> tuple[Wish, ...]:
    """Return the wishes of those in one of the roles, of all where no role is stated; upper case is lower case."""
    wanted = {role.strip().casefold() for role in roles}
    chosen = (each for each in contacts if not wanted or (each.role or "").casefold() in wanted)
    return tuple(dict.fromkeys(wish for each in chosen for wish in each.wishes))
