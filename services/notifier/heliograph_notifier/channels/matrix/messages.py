"""What people say to the account, as the commands read it. Nothing here needs the Matrix library."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """A text message of somebody else in a room where the account is.

    ``body`` is the plain text. ``thread_root`` is the event that its thread hangs on. ``is_direct``: it was said in a
    room of two, where everything is meant for the account.
    """

    room: str
    sender: str
    event_id: str
    body: str
    thread_root: str | None = None
    is_direct: bool = False


OnMessage = Callable[[Message], Awaitable[None]]
