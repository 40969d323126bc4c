"""What a caller's function becomes on its way to a worker, and how one that cannot go is refused."""

import base64
import functools
import importlib
import json
import pickle
import statistics
import sys
from collections.abc import Callable
from typing import Any

import pytest

from heliograph.client import FunctionError
from heliograph.client.functions import LONGEST_PICKLE, dotted_name, pickled


def top(value: int) -> int:
    return value + 1


def shadowed() -> str:
    return "the first"


the_first = shadowed


def shadowed() -> str:  # type: ignore[no-redef] # the name now leads to another function
    return "the second"


class Holder:
    def method(self) -> int:
        return 1

    @classmethod
    def of_the_class(cls) -> int:
        return 2

    @staticmethod
    def alone() -> int:
        return 3


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("numpy.linalg:norm", "numpy.linalg:norm"),
        (statistics.mean, "statistics:mean"),
        (json.dumps, "json:dumps"),
        (abs, "builtins:abs"),
        (json.JSONEncoder, "json.encoder:JSONEncoder"),
        (Holder.alone, f"{__name__}:Holder.alone"),
        (Holder.of_the_class, f"{__name__}:Holder.of_the_class"),
        (top, f"{__name__}:top"),
    ],
)
def test_a_function_has_the_name_by_which_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any] | str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or importlib.import_module(__name__))
    assert dotted_name(function) == name


def local() -> Callable[[], int]:
    def inner() -> int:
        return 1

    return inner


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda: 1, "is a lambda, which nobody can import"),
        (local(), "is defined within a function, which nobody can import"),
        (Holder().method, "is another object than <bound method"),
        (the_first, "shadowed is another object than <function"),
        (functools.partial(top, 1), "has no name by which a worker could import it; give it as 'module:name'"),
        ([].append, "has no name by which a worker could import it"),
    ],
)
def test_a_function_that_no_import_leads_to_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(FunctionError, match=why):
        dotted_name(function)


def test_a_function_of_the_main_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "__module__", "__main__")
    with pytest.raises(FunctionError, match="top is defined in __main__, which a worker does not have"):
        dotted_name(top)


def without_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


def test_a_function_goes_with_its_code() -> None:
    base = 40
    again = pickle.loads(base64.b64decode(pickled(lambda more: base + more)))
    assert again(2) == 42


def test_without_cloudpickle_a_function_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cloudpickle(monkeypatch)
    assert pickle.loads(base64.b64decode(pickled(statistics.mean))) is statistics.mean


@pytest.mark.parametrize(
    ("function", "why"), [(lambda: 1, "<lambda> cannot be pickled by its name: "), (local(), "inner cannot be pickled")]
)
def test_without_cloudpickle_a_function_without_a_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], why: str
) -> None:
    without_cloudpickle(monkeypatch)
    with pytest.raises(FunctionError, match=rf"{why}.*pip install 'heliograph\[functions\]' sends a function with its"):
        pickled(function)


def test_without_cloudpickle_a_function_of_the_main_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cloudpickle(monkeypatch)
    monkeypatch.setattr(top, "__module__", "__main__")
    with pytest.raises(FunctionError, match="top is defined in __main__, which a worker does not have; pip install"):
        pickled(top)


def test_what_cannot_be_pickled_at_all_is_refused() -> None:
    lock = __import__("threading").Lock()
    with pytest.raises(FunctionError, match="<lambda> cannot be pickled: "):
        pickled(lambda: lock)


def test_a_function_that_holds_much_is_refused() -> None:
    much = b"x" * LONGEST_PICKLE
    with pytest.raises(FunctionError, match="more than 700,000: pass what it holds as an argument"):
        pickled(lambda: much)
