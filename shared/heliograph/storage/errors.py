"""The driver's errors in this project's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    WaitQueueTimeoutError,
    WriteConcernError,
)

from heliograph.errors import ConflictError, UnavailableError

DUPLICATE_KEY = 11000
# Codes of a server that is going away, stepping down, starting or out of disk: 43 CursorNotFound (it was restarted
# between two pages), 50 MaxTimeMSExpired, 91 ShutdownInProgress, 134 ReadConcernMajorityNotAvailableYet, 189
# PrimarySteppedDown, 262 ExceededTimeLimit, 10107 NotWritablePrimary, 11600 InterruptedAtShutdown, 11602
# InterruptedDueToReplStateChange, 13435 NotPrimaryNoSecondaryOk, 13436 NotPrimaryOrSecondary, 14031 OutOfDiskSpace.
AWAY = frozenset({43, 50, 91, 134, 189, 262, 10107, 11600, 11602, 13435, 13436, 14031})


class StoreUnavailableError(UnavailableError):
    """The database is away; nothing was accepted, try again with the same Idempotency-Key."""

    code = "database-unavailable"


class DuplicateError(ConflictError):
    """A document with this key exists."""

    def __init__(self, index: frozenset[str]) -> None:
        super().__init__()
        self.index = index  # the paths that the index covers

    @classmethod
    def of(cls, details: Any) -> "DuplicateError":
        """Read which index it was from the server's answer."""
        return cls(frozenset((details or {}).get("keyPattern", {})))


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as ``StoreUnavailableError`` or ``DuplicateError``; let defects through as they are."""
    try:
        yield
    except DuplicateKeyError as error:
        raise DuplicateError.of(error.details) from error
    except (ConnectionFailure, WaitQueueTimeoutError, ExecutionTimeout, WriteConcernError) as error:
        raise StoreUnavailableError from error
    except OperationFailure as error:
        if error.code in AWAY:
            raise StoreUnavailableError from error
        raise
