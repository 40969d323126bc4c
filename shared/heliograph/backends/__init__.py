"""What the author of a backend imports: the decorator, the parameters' file type, the job's context, the errors.

A process runs many jobs of one owner, one after the other, and never another owner's. Between them the environment, the
umask, timers and signal handlers are put back as they were after the backend's import; module globals persist: use them
for what takes long to load, and keep no state of a job there.
"""

from heliograph.backends.backend import Backend, backend
from heliograph.backends.context import Callback, ChildJob, JobContext
from heliograph.backends.errors import BackendError, Cancelled, FatalError, TransientError, UsageError
from heliograph.backends.files import InputFile
from heliograph.backends.retry import Retry
from heliograph.backends.standing import Finished, Gone, Standing, StillRunning
from heliograph.jobs.limits import Limits

__all__ = [
    "Backend",
    "BackendError",
    "Callback",
    "Cancelled",
    "ChildJob",
    "FatalError",
    "Finished",
    "Gone",
    "InputFile",
    "JobContext",
    "Limits",
    "Retry",
    "Standing",
    "StillRunning",
    "TransientError",
    "UsageError",
    "backend",
]
