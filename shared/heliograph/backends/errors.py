"""What a backend raises to say why a job failed, and what is raised in a backend when its job is to stop."""

from typing import ClassVar

from heliograph.jobs.states import ErrorKind


class BackendError(Exception):
    """The backend failed; the class says in which way, and so whether a repeat is worth while.

    Any other exception counts as fatal and is kept with its traceback; of these, the message alone is kept.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.FATAL


class UsageError(BackendError):
    """The request was wrong: the same request fails again. The message is for the person who made it."""

    kind = ErrorKind.USAGE


class TransientError(BackendError):
    """Something passing went wrong (a server away, a limit reached): the same request may succeed later."""

    kind = ErrorKind.TRANSIENT


class FatalError(BackendError):
    """The backend failed in a way that a repeat does not mend."""

    kind = ErrorKind.FATAL


class Cancelled(BaseException):
    """The job is to stop: it was cancelled, its time is over, or its worker closes.

    Raised once, in the main thread, wherever a synchronous function happens to be; an asynchronous one gets
    ``asyncio.CancelledError`` instead. No ``except Exception`` catches it. Clean up and let it pass: what is still
    running after the grace period (10 s unless the operator set another) is killed.
    """
