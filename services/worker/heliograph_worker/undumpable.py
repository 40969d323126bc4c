"""Keeping other processes of the same user out of this one: its memory and environment hold the services' secrets."""

import ctypes
import sys

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def forbid_looking_inside() -> None:
    """Have Linux refuse /proc/<pid>/environ, /proc/<pid>/mem and debuggers to processes of this user; root may still.

    Children that run another program begin without it. It does nothing where there is no such system call.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
