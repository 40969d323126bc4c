"""The secrets of a run: a worker masks them in all that a job tells, and so does a test."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from heliograph.admission.marked_parameters import MarkedPlaces, is_secret
from heliograph.admission.withheld import refuse_withheld
from heliograph.backends.backend import Backend
from heliograph.backends.errors import UsageError
from heliograph.errors import InvalidInputError
from heliograph.masking import Mask, MaskedNames
from heliograph.secret_parameters import Secret, masked
from heliograph.testing.outcome import Run
from heliograph.wire import Submission


def mask_of(backend: Backend, parameters: Mapping[str, Any]) -> Mask | None:
    """Return the mask of the secrets that a submission gives; None where it gives none."""
    secrets = _secrets(backend, dict(parameters))
    return Mask(value for _, value in secrets) if secrets else None


def refuse_to_show(mask: Mask, backend: object, parameters: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Refuse a submission that shows a secret of the job that submits.

    What ``backend`` is to do with the parameters is known where it is one; of a planned result it is not.

    Raises
    ------
    UsageError
        As a worker says it.
    """
    given = dict(parameters)
    shown = masked(given, _secrets(backend, given)) if isinstance(backend, Backend) else {}
    try:
        submission = Submission.model_validate({"backend": "child", "parameters": shown, **fields})
    except ValidationError:  # the fake job says so
        return
    try:
        refuse_withheld(submission, mask)
    except InvalidInputError as error:
        raise UsageError(error.message) from error


def without_secrets(run: Run, mask: Mask) -> Run:
    """Return what a worker records of a run, whose reports of progress are masked already."""
    error = run.error and replace(
        run.error,
        message=mask.text(run.error.message),
        traceback=run.error.traceback and mask.text(run.error.traceback),
    )
    names = MaskedNames()
    shown = {name: names.different(name, mask.text(name)) for name in run.artifacts}
    return replace(
        run,
        error=error,
        log=mask.text(run.log),
        artifacts=MappingProxyType(
            {shown[name]: replace(each, name=shown[name]) for name, each in run.artifacts.items()}
        ),
        submitted=tuple(replace(each, parameters=mask.value(each.parameters)) for each in run.submitted),
        remembered=MappingProxyType(mask.value(dict(run.remembered))),
        returned=mask.value(run.returned),
    )


def _secrets(backend: Backend, parameters: dict[str, Any]) -> list[Secret]:
    return list(MarkedPlaces(backend.schema(), is_secret).outermost(parameters))
