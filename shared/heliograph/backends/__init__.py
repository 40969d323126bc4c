"""What the author of a backend imports: the decorator, the parameters' file type, the job's context, the errors."""

from heliograph.backends.backend import Backend, backend
from heliograph.backends.context import JobContext
from heliograph.backends.errors import BackendError, Cancelled, FatalError, TransientError, UsageError
from heliograph.backends.files import InputFile
from heliograph.backends.retry import Retry

__all__ = [
    "Backend",
    "BackendError",
    "Cancelled",
    "FatalError",
    "InputFile",
    "JobContext",
    "Retry",
    "TransientError",
    "UsageError",
    "backend",
]
