"""The secrets of one attempt at a job, opened when its process is asked to run it."""

from collections.abc import Sequence
from typing import Any

from heliograph.masking import Mask
from heliograph.sealed_parameters import opened, put_back

CANNOT_BE_OPENED = "its secret parameters cannot be opened with this worker's keys (HELIOGRAPH_SEAL_KEYS)"


class JobSecrets:
    """The secrets of a job, sealed at first. ``mask`` knows them once they are open."""

    def __init__(self, job: str, sealed: bytes, keys: Sequence[str] | None) -> None:
        self._job = job
        self._sealed = sealed
        self._keys = keys or ()
        self.mask: Mask | None = None

    def open(self, parameters: Any) -> Any:
        """Return the job's parameters with the secrets in their places.

        Raises
        ------
        SealBrokenError
            Other keys sealed them, or they are of another job.
        """
        secrets = opened(self._keys, self._job, self._sealed)
        whole = put_back(parameters, secrets)
        self.mask = Mask(value for _, value in secrets)
        return whole
