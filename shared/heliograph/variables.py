"""The variables that mean something to Heliograph, so that one that is misspelt can be named.

The settings of all services stand here, for where one is told what all of them need, none is to call another's unknown.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches

import structlog

from heliograph.settings import PREFIX

# Of all services; a test holds that none is missing.
SETTINGS = frozenset(
    """
    ALLOW_ANONYMOUS BACKENDS_FILE BUS_URL CONTACTS_FILE CONTACTS_QUERY CONTACTS_SECONDS CONTACTS_URL CONTACT_EMAIL
    COPIES_TO DIGEST_FAILING_LEAST DIGEST_FAILING_SHARE DIGEST_SETTLE_SECONDS DISCLOSURE DRAIN_SECONDS
    EMAIL_SENDING_JOB_DONE EMAIL_SENDING_JOB_FAILED EMAIL_SENDING_JOB_SUBMITTED
    EMAIL_SENDING_JOB_SUBMITTED_DEFAULT_INTERVAL EMAIL_SENDING_TIMEOUT EMAIL_SENDING_TIMEOUT_DEFAULT_THRESHOLD
    FAULT_POINT GRACE_SECONDS HOST IDENTITY_KEY INCIDENTS_TO KEEP_VARIABLES LEASE_SECONDS LINK_KEYS LOG_LEVEL
    MAIL_FROM MAIL_TEMPLATES MATRIX_ACCESS_TOKEN MATRIX_ALLOWED MATRIX_HOMESERVER MATRIX_LEASE_SECONDS
    MATRIX_MESSAGE_SENDING_JOB_DONE MATRIX_MESSAGE_SENDING_JOB_FAILED MATRIX_MESSAGE_SENDING_JOB_SUBMITTED
    MATRIX_MESSAGE_SENDING_JOB_SUBMITTED_DEFAULT_INTERVAL MATRIX_MESSAGE_SENDING_TIMEOUT
    MATRIX_MESSAGE_SENDING_TIMEOUT_DEFAULT_THRESHOLD MATRIX_PASSWORD MATRIX_USER MEMORY_LIMIT_BYTES METRICS_HOST
    METRICS_PORT MONGODB_DATABASE MONGODB_URL MOST_BATCH_BYTES MOST_BODY_BYTES MOST_UPLOAD_BYTES
    NOTICES_RETENTION_DAYS PORT PUBLIC_URL RETENTION_DAYS SCRATCH SEAL_KEYS SENDERS SEND_LEASE_SECONDS SIGNING_KEYS
    SITE_NAME SLOTS SMTP_CA_FILE SMTP_CONNECTIONS SMTP_URL WORKER_NAME
    """.split()  # noqa: SIM905 - as a list it is seventy lines
)
# Read by others: the command line, the build of the images, the demo with a homeserver, the tests of the pages.
_OF_OTHERS = frozenset({"URL", "TOKEN", "PLUGINS", "CHANNELS", "SYNAPSE_PYTHON", "CHROMIUM"})
_OF_ADDED_CHANNELS = "CHANNEL_"
_ALIKE = 0.75  # of 1, as difflib counts: PROT for PORT is just that

_log = structlog.get_logger()


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """Return the variables of ours that no part knows, each with the name that was probably meant."""
    names = SETTINGS | _OF_OTHERS
    known = sorted(names | {f"{name}_FILE" for name in SETTINGS})
    found: dict[str, str | None] = {}
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if not variable.upper().startswith(PREFIX) or name in known or name.startswith(_OF_ADDED_CHANNELS):
            continue
        nearest = get_close_matches(name, known, n=1, cutoff=_ALIKE)
        found[variable] = PREFIX + nearest[0] if nearest else None
    return found


def warn_of_unknown() -> None:
    """Log the variables of this process that begin as ours and that no part knows."""
    for variable, nearest in unknown_variables(os.environ).items():
        hint = {"nearest": nearest} if nearest else {}
        _log.warning("no setting has this name, so it does nothing", variable=variable, **hint)
