"""Which processes descend from one: read from /proc (Linux, with CONFIG_PROC_CHILDREN as distributions build it)."""

import os


def children(pid: int) -> set[int]:
    """Return the direct children of a process; none where it is gone."""
    found: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - asked after every job; a path takes longer
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123 - as above
                found.update(map(int, file.read().split()))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it, or a thread of it, ended while we looked
    return found


def descendants(pid: int) -> set[int]:
    """Return all processes below one. Those that start while we look may be missed: look until none is left."""
    found: set[int] = set()
    fresh = children(pid)
    while fresh:
        found |= fresh
        fresh = set().union(*map(children, fresh)) - found
    return found
