"""One line in the worker's log for each job that runs what its caller wrote."""

import hashlib
from collections.abc import Mapping

import structlog

from heliograph_worker.account import Account
from heliograph_worker.task import Task

_log = structlog.get_logger(__name__)

_SHOWN = 200  # characters of a command


def audit(task: Task, account: Account) -> None:
    """Log whose job begins here, as which user, and what it runs: a hash and, of a command, its beginning.

    The hash is of the parameter's text as it was submitted: of a function, of its pickle in base64.
    """
    given = task.parameters if isinstance(task.parameters, Mapping) else {}
    command = str(given.get("command", ""))
    what = command or str(given.get("pickle", ""))
    digest = hashlib.sha256(what.encode(errors="surrogatepass")).hexdigest()
    _log.warning(  # no fault, but to be seen also where nothing less is logged
        "audit",
        job=task.job,
        attempt=task.attempt,
        owner=task.owner,
        backend=task.backend,
        user=account.name,
        sha256=digest,
        command=command[:_SHOWN],
    )
