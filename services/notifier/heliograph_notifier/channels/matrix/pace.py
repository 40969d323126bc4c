"""How fast the channel speaks besides its notices."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: from look to look at work in progress, from edit to edit of a message, from answer to answer in a room.

    The messages of a room take turns, so that all that wait there have theirs within ``edit_seconds``. Every
    ``anew_seconds`` all live messages are read again, with what another process may have left. At these numbers
    20 jobs in as many rooms show a change after 0.5 s, 99 of 100 changes within 1 s, encrypted or not; in one room it
    is 0.9 s and 2.3 s (``bench/notices_matrix.py``).
    """

    look_seconds: float = 0.7
    edit_seconds: float = 1.0
    answer_seconds: float = 1.0
    anew_seconds: float = 30.0
