"""Giving up root for good: what a child process does before it runs jobs of people who may run anything."""

import ctypes
import json
import os

# What those jobs need of us is imported while that can be read: the interpreter may lie in a folder of root's own.
import heliograph_worker.backends.declared
import heliograph_worker.backends.function
import heliograph_worker.backends.shell  # noqa: F401 - as above
from heliograph_worker.child.runner import go_first

_PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>


def become(account: str) -> None:
    """Become the user that ``account`` describes (a JSON object), with its groups' rights and no way back.

    No program that it starts gains a right either, so that its warden, which stays root, can always kill it. The
    process stays closed to debuggers, those of other jobs of the same user among them.
    """
    about = json.loads(account)
    go_first()  # only root may say so
    os.setgroups([])
    os.setresgid(about["gid"], about["gid"], about["gid"])
    os.setresuid(about["uid"], about["uid"], about["uid"])
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the system has no PR_SET_NO_NEW_PRIVS")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for own in (0, 1, 2):  # standard error was the worker's: nobody may forge a line of its log
        os.dup2(nowhere, own)
    os.close(nowhere)
    os.environ.update(HOME=about["home"], USER=about["name"], LOGNAME=about["name"])
