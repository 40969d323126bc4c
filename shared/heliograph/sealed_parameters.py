"""Secret parameters at rest: sealed for one job, opened and put back where that job runs."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from heliograph.errors import InvalidInputError
from heliograph.json_text import json_text
from heliograph.masking import Mask
from heliograph.seal import SealBrokenError, seal, unseal
from heliograph.secret_parameters import Secret, replaced

# Of a job's secrets: all that it tells is searched for each text in them, as it may be written, at 10 us for each in
# 64 KB. A key of 4096 bits takes 3.4 KB and 400 texts, a password of quotes, umlauts and line ends 150.
MOST_BYTES = 8 * 1024
MOST_TEXTS = 2000


def sealed(keys: Sequence[str], job: str, secrets: Sequence[Secret]) -> bytes:
    """Seal the secrets of a job: nothing but that job's id, with one of the keys, opens them again.

    Raises
    ------
    InvalidInputError
        They hold what cannot be stored, more than 8 KiB, or too many lines.
    """
    text = json_text([[list(place), value] for place, value in secrets]).encode()
    if len(text) > MOST_BYTES:
        raise InvalidInputError.of(
            "parameters", f"the secrets among them take {len(text):,} bytes of at most {MOST_BYTES:,}"
        )
    if Mask(value for _, value in secrets).size > MOST_TEXTS:
        raise InvalidInputError.of(
            "parameters", "the secrets among them have too many lines, or too many characters that are quoted"
        )
    return seal(keys, _purpose(job), text)


def opened(keys: Sequence[str], job: str, blob: bytes) -> list[Secret]:
    """Open what was sealed for a job.

    Raises
    ------
    SealBrokenError
        With other keys, or for another job; or there are no keys.
    """
    if not keys:
        raise SealBrokenError
    return [(tuple(place), value) for place, value in orjson.loads(unseal(keys, _purpose(job), blob))]


def put_back(parameters: Any, secrets: Iterable[Secret]) -> Any:
    """Return the parameters with the secrets in their places.

    Raises
    ------
    SealBrokenError
        There is no such place: the parameters are not those that the secrets were taken from.
    """
    try:
        return replaced(parameters, secrets)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SealBrokenError from error


def _purpose(job: str) -> str:
    return f"secret parameters of the job {job}"
