"""What a job submits must not show the job's own secrets: a child's secret parameters alone may hold them."""

from heliograph.admission.marked_parameters import dotted
from heliograph.errors import FieldError, InvalidInputError
from heliograph.masking import Mask
from heliograph.wire import Submission

_MOST_FAULTS = 20
_READ_BY_PEOPLE = {"name", "group", "handler", "notify"}


def refuse_withheld(submission: Submission, withheld: Mask) -> None:
    """Refuse a secret of the job that submits where people could read it.

    What is searched is the submitter's own: parameters, the names among them, and the values of the other fields.

    Parameters
    ----------
    submission
        What is submitted, with a mask in place of what is secret in its own right.
    withheld
        Knows the secrets of the job that submits.

    Raises
    ------
    InvalidInputError
        There is one; the error names the field.
    """
    fields = submission.model_dump(mode="json", exclude_unset=True, include=_READ_BY_PEOPLE)
    given = [_values(each) for each in fields.values()]
    given += [{name: value} for name, value in submission.parameters.items()]
    shown = withheld.value(given)  # all at once: there may be many
    if shown == given:
        return
    names = [*fields, *(dotted(tuple(each)) for each in shown[len(fields) :])]
    faults = [
        FieldError(name, "this holds a secret of the job that submits: only a secret parameter may hold one")
        for name, before, after in zip(names, given, shown, strict=True)
        if before != after
    ]
    raise InvalidInputError.of_all(faults[:_MOST_FAULTS])


def _values(field: object) -> object:
    """Return a field without the names in it, which are ours."""
    match field:
        case dict():
            return [_values(each) for each in field.values()]
        case list() | tuple():
            return [_values(each) for each in field]
        case _:
            return field
