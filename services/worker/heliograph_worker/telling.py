"""What a job's process tells, as it may be kept: its secrets are masked, and only then is anything cut."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

from heliograph.backends.artifacts import shown_media_type
from heliograph.backends.failures import shortened as shortened_error
from heliograph.backends.result import as_json
from heliograph.backends.telling import shortened
from heliograph.jobs.model import JobError
from heliograph.masking import Mask, MaskedNames
from heliograph_worker.protocol import ArtifactMade, FromChild, Progress, Question, Raised, Returned, Topic

_Found = TypeVar("_Found")

_AT_ONCE = 4 * 1024  # characters, for 10 ms; more is searched in a thread: all jobs of a worker share its event loop


class Telling:
    """What one attempt tells; ``mask`` knows its secrets, where it has any."""

    def __init__(self, mask: Mask | None) -> None:
        self._mask = mask
        self._artifacts = MaskedNames()

    async def shown(self, message: FromChild) -> FromChild:
        """Return what a job's process said, as it may be kept.

        A result is left to ``result``. A submission stays as it is: a job may hand a secret on to a child, and
        admission sees where it stands there. Other questions are of ids, in which a secret could stand by chance.
        """
        return await _aside(_size(message), lambda: self._shown(message))

    async def result(self, returned: Returned) -> Any:
        """Return the result, a JSON value. Its size is judged before it is masked: a mask may be longer than a secret.

        Raises
        ------
        FatalError, ValueError, RecursionError
            It is none: a backend can reach the socket on which its process says this.
        """
        return await _aside(len(returned.result), lambda: self._result(returned.result))

    def error(self, error: JobError) -> JobError:
        """Return why an attempt failed, as it may be kept."""
        traceback = error.traceback and self._masked(error.traceback)
        return shortened_error(JobError(error.kind, self._masked(error.message), traceback))

    def _shown(self, message: FromChild) -> FromChild:
        match message:
            case Progress():
                texts = (text and self._masked(text) for text in (message.stage, message.message))
                return message.model_copy(update=dict(zip(("stage", "message"), shortened(*texts), strict=True)))
            case ArtifactMade():
                name = self._artifacts.different(message.name, self._masked(message.name))
                media_type = shown_media_type(message.media_type, self._mask)
                return message.model_copy(update={"name": name, "media_type": media_type})
            case Raised():
                error = self.error(JobError(message.kind, message.message, message.traceback))
                return message.model_copy(update={"message": error.message, "traceback": error.traceback})
            case Question() if message.topic is Topic.REMEMBER and self._mask:
                return message.model_copy(update={"content": self._json(self._mask, message.content)})
            case _:
                return message

    def _result(self, text: str) -> Any:
        result = json.loads(as_json(json.loads(text)))
        return self._mask.value(result) if self._mask else result

    def _masked(self, text: str) -> str:
        return self._mask.text(text) if self._mask else text

    @staticmethod
    def _json(mask: Mask, text: str) -> str:
        try:
            return json.dumps(mask.value(json.loads(text)))
        except (ValueError, RecursionError):  # no JSON of ours: whoever reads it next says so
            return mask.text(text)


async def _aside(size: int, work: Callable[[], _Found]) -> _Found:
    """Do what takes time by the size of a text; in a thread where that is long."""
    return await asyncio.to_thread(work) if size > _AT_ONCE else work()


def _size(message: FromChild) -> int:
    return sum(len(value) for _, value in message if isinstance(value, str))
