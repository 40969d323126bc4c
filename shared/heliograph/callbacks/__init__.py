"""What outside systems tell of running jobs, at addresses that are signed for one attempt each."""

from heliograph.callbacks.callbacks import Callbacks
from heliograph.callbacks.store import ensure_callback_indexes

__all__ = ["Callbacks", "ensure_callback_indexes"]
