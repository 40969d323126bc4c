"""The secrets of one attempt at a job: opened when its process is asked to run it, masked in all that this tells."""

import json
from collections.abc import Sequence
from typing import Any

from heliograph.masking import Mask
from heliograph.secret_parameters import opened, put_back
from heliograph_worker.protocol import ArtifactMade, FromChild, Progress, Question, Raised, Returned, Topic

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


def masked(message: FromChild, mask: Mask) -> FromChild:
    """Return what a job's process said, without the job's secrets.

    A submission stays as it is: a job may hand a secret on to a child, and admission sees where it stands there.
    """
    match message:
        case Progress():
            return message.model_copy(update=_texts(mask, stage=message.stage, message=message.message))
        case ArtifactMade():
            return message.model_copy(update=_texts(mask, name=message.name, media_type=message.media_type))
        case Raised():
            return message.model_copy(update=_texts(mask, message=message.message, traceback=message.traceback))
        case Returned():
            return message.model_copy(update={"result": _json(mask, message.result)})
        case Question() if message.topic is not Topic.SUBMIT:
            return message.model_copy(update={"content": _json(mask, message.content)})
        case _:
            return message


def _texts(mask: Mask, **texts: str | None) -> dict[str, str | None]:
    return {name: text and mask.text(text) for name, text in texts.items()}


def _json(mask: Mask, text: str) -> str:
    try:
        return json.dumps(mask.value(json.loads(text)))
    except (ValueError, RecursionError):  # no JSON of ours: whoever reads it next says so
        return mask.text(text)
