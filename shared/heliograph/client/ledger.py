"""How the command line shows where a notice stands, and what was heard of it."""

from heliograph.notices.model import DeliveryStatus
from heliograph.wire import NoticeView

ANSWER = "what the server said"


def standing(notice: NoticeView) -> str:
    """Return its status; of one that waits, also until when."""
    if notice.status is DeliveryStatus.PLANNED:
        return f"planned, due {notice.due_at:%Y-%m-%d %H:%M} UTC"
    return notice.status


def answer(notice: NoticeView) -> str:
    """Return what the server that took it answered, else the last try's reply; nothing where none was made."""
    replies = [notice.receipt, *(each.reply for each in reversed(notice.attempts))]
    return next((reply for reply in replies if reply), "")
