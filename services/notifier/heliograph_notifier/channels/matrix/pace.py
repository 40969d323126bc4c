"""How fast the channel speaks besides its notices."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: from look to look at work in progress, from edit to edit of a message, from answer to answer in a room.

    The last edit, which says how it ended, waits for no time since the one before. Every ``anew_seconds`` all live
    messages are read again, with what another process may have left.
    """

    look_seconds: float = 0.7
    edit_seconds: float = 1.0
    answer_seconds: float = 1.0
    anew_seconds: float = 30.0
