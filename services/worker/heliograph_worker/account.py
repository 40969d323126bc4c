"""An account of the system under which jobs run that are not to be trusted with the worker's own."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

# To change a process's user, to give files to it and take them from it, and to end it: bits of <linux/capability.h>.
_NEEDED = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}


class AccountError(Exception):
    """Jobs cannot run under this account, and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a job's processes belong to: nobody else's files are theirs."""

    name: str
    uid: int
    gid: int
    home: str


def find_account(name: str) -> Account:
    """Find a user for jobs.

    Raises
    ------
    AccountError
        There is none, it is root's or the worker's own, or this process may not start others' processes.
    """
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise AccountError(f"there is no user {name} here; make one, with: useradd --create-home {name}") from None
    if found.pw_uid == 0 or found.pw_gid == 0:
        raise AccountError(f"{name} is root, or of its group; name a user that owns nothing but its home")
    if found.pw_uid == os.geteuid():
        raise AccountError(f"{name} is the worker's own user; name another, and start the worker as root")
    if os.geteuid() != 0:
        raise AccountError(f"only a worker started as root runs jobs as {name}; this one is user {os.geteuid()}")
    if missing := [capability for capability, bit in _NEEDED.items() if not _capabilities() >> bit & 1]:
        raise AccountError(f"this worker is root without the right to run jobs as {name}; add {', '.join(missing)}")
    return Account(name, found.pw_uid, found.pw_gid, found.pw_dir)


def _capabilities() -> int:
    """Return the capabilities in force, as Linux counts them."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
