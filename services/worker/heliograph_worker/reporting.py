"""What a job tells while it runs, on its way to the observer: neither the job nor its reader waits for that one."""

import asyncio
from pathlib import Path

import structlog

from heliograph_worker.protocol import ArtifactMade, Progress
from heliograph_worker.task import Observer

_log = structlog.get_logger(__name__)


class ProgressReports:
    """The latest progress; what the observer is too slow for is merged into the next."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._latest: Progress | None = None
        self._telling: asyncio.Task[None] | None = None

    def put(self, report: Progress) -> None:
        """Take a report; what it leaves out stays as it was."""
        earlier = self._latest.model_dump() if self._latest else {}
        self._latest = Progress.model_validate(earlier | report.model_dump(exclude_none=True))
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def finish(self) -> None:
        """Tell what is left."""
        if self._telling:
            await self._telling

    def abandon(self) -> None:
        """Tell no more."""
        if self._telling:
            self._telling.cancel()

    async def _tell(self) -> None:
        while self._latest:
            report, self._latest = self._latest, None
            try:
                await self._observer.progress(report.fraction, report.stage, report.eta_seconds, report.message)
            except Exception as error:  # noqa: BLE001 - an observer's trouble with progress does not fail the job
                _log.warning("progress.untold", exc_info=error)


class ArtifactDelivery:
    """Files on their way to the observer, one after the other, each removed once it is kept."""

    def __init__(self, observer: Observer, folder: Path) -> None:
        self._observer = observer
        self._folder = folder
        self._waiting: asyncio.Queue[ArtifactMade | None] = asyncio.Queue()
        self._failure: str | None = None
        self._delivery: asyncio.Task[None] | None = None  # most jobs make no file

    def put(self, artifact: ArtifactMade) -> None:
        """Take a file."""
        self._waiting.put_nowait(artifact)
        if self._delivery is None:
            self._delivery = asyncio.create_task(self._deliver())

    async def finish(self) -> str | None:
        """Deliver what is left; return what went wrong, if anything did."""
        if self._delivery:
            self._waiting.put_nowait(None)
            await asyncio.wait({self._delivery})  # which may have been abandoned
        return self._failure

    def abandon(self) -> None:
        """Deliver no more."""
        if self._delivery:
            self._delivery.cancel()

    async def _deliver(self) -> None:
        while artifact := await self._waiting.get():
            path = self._folder / str(artifact.number)
            try:
                await self._observer.artifact(artifact.name, path, artifact.media_type)
                path.unlink(missing_ok=True)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job's files are not complete
                self._failure = self._failure or f"the artifact {artifact.name} could not be kept: {error}"
                _log.warning("artifact.unkept", name=artifact.name, exc_info=error)
