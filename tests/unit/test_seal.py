"""Sealed secrets: what opens them, and that nothing else does."""

import pytest

from heliograph.seal import SealBrokenError, seal, unseal

KEY, OLD, OTHER = ("3f1d9c0b7a5e48261122334455667788", "0a9b8c7d6e5f40312233445566778899", "f" * 32)
DATA = b"a secret" * 100


def test_what_was_sealed_comes_back_and_cannot_be_read_before() -> None:
    sealed = seal([KEY], "a", DATA)
    assert unseal([KEY], "a", sealed) == DATA
    assert b"secret" not in sealed
    assert len(sealed) - len(DATA) <= 73


def test_the_same_data_is_sealed_differently_each_time() -> None:
    assert seal([KEY], "a", DATA) != seal([KEY], "a", DATA)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    assert unseal([KEY, OLD], "a", seal([OLD], "a", DATA)) == DATA
    assert unseal([KEY], "a", seal([KEY, OLD], "a", DATA)) == DATA
    with pytest.raises(SealBrokenError):
        unseal([OLD], "a", seal([KEY, OLD], "a", DATA))


@pytest.mark.parametrize(("keys", "purpose"), [((OTHER,), "a"), ((KEY,), "b")], ids=["another key", "another purpose"])
def test_nothing_else_opens_it(keys: tuple[str, ...], purpose: str) -> None:
    with pytest.raises(SealBrokenError, match="cannot be opened"):
        unseal(keys, purpose, seal([KEY], "a", DATA))


@pytest.mark.parametrize("place", [0, 20, -1])
def test_what_was_changed_does_not_open(place: int) -> None:
    sealed = bytearray(seal([KEY], "a", DATA))
    sealed[place] ^= 1
    with pytest.raises(SealBrokenError):
        unseal([KEY], "a", bytes(sealed))


def test_what_is_no_seal_does_not_open() -> None:
    with pytest.raises(SealBrokenError):
        unseal([KEY], "a", b"")
