"""Secret parameters among the others: where they stand, and a mask in place of them."""

from collections.abc import Iterable
from typing import Any

from heliograph.admission.marked_parameters import Place
from heliograph.masking import MASK

Secret = tuple[Place, Any]


def masked(parameters: Any, secrets: Iterable[Secret]) -> Any:
    """Return the parameters with the mask in place of each secret; what was given stays as it is."""
    return replaced(parameters, ((place, MASK) for place, _ in secrets))


class _Leaf:
    """A new value at its place, which no inner node of a tree of places can be taken for."""

    def __init__(self, value: Any) -> None:
        self.value = value


def replaced(parameters: Any, changes: Iterable[Secret]) -> Any:
    """Return a copy with other values in these places; what has none of them is not copied."""
    tree: dict[str | int, Any] = {}
    for place, value in changes:
        here = tree
        for part in place[:-1]:
            here = here.setdefault(part, {})
        here[place[-1]] = _Leaf(value)
    return _changed(parameters, tree)


def _changed(value: Any, tree: Any) -> Any:
    if isinstance(tree, _Leaf):
        return tree.value
    if not tree:
        return value
    copy = value.copy()
    for part, inner in tree.items():
        copy[part] = _changed(value[part], inner)
    return copy
