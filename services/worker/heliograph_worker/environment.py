"""What of the worker's environment its child processes get: plugins have no business with the services' secrets."""

import re
from collections.abc import Mapping

_OURS = "HELIOGRAPH_"
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|(?<!^)(?<!^OLD)PWD$|(^|_)PAT(_|$)|CREDENTIAL|PRIVATE|AUTH|COOKIE|SIGNING|(^|_)PASS$|(API|ACCESS|SEAL|IDENTITY)_?KEY|_KEYS?$|DSN$",
    re.IGNORECASE,
)
_OUR_KEYS = re.compile(rf"{_OURS}\w+_KEYS?(_FILE)?", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s@]*:[^/\s@]+@", re.IGNORECASE)  # a URL with a password in it


def child_environment(environment: Mapping[str, str], keep: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the variables without those of the services and those that look like secrets.

    Parameters
    ----------
    environment
        The worker's own.
    keep
        Names to hand on whatever they look like: what the operator means for the backends. The keys of the services
        are never among it.
    """
    return {
        name: value
        for name, value in environment.items()
        if not _OUR_KEYS.fullmatch(name) and (name in keep or not _is_secret(name, value))
    }


def _is_secret(name: str, value: str) -> bool:
    ours = name.upper().startswith(_OURS)
    return ours or bool(_SECRET_NAME.search(name)) or bool(_SECRET_VALUE.search(value))
