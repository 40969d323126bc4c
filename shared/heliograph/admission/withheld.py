"""What a job submits must not show the job's own secrets: a child's secret parameters alone may hold them."""

from heliograph.admission.marked_parameters import dotted
from heliograph.errors import FieldError, InvalidInputError
from heliograph.masking import Mask
from heliograph.wire import Submission

_MOST_FAULTS = 20
_READ_BY_PEOPLE = {"name", "group", "handler", "notify"}


def refuse_withheld(submission: Submission, withheld: Mask) -> None:
    """Refuse a secret of the job that submits where people could read it.

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
    parameters = {dotted((name,)): value for name, value in submission.parameters.items()}
    faults = [
        FieldError(withheld.text(field), "this holds a secret of the job that submits: only a secret parameter may")
        for field, value in (fields | parameters).items()
        if withheld.finds_in({field: value})
    ]
    if faults:
        raise InvalidInputError.of_all(faults[:_MOST_FAULTS])
