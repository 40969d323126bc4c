"""The builder of changes makes no move that the table of states does not know."""

import pytest

from heliograph.jobs.states import ACTIVE, HELD, OVER, State
from heliograph.jobs.store.changes import ChangePlan, Target, reopening, to
from heliograph.jobs.store.expressions import literal


@pytest.mark.parametrize(
    ("plan", "leaving"),
    [
        (ChangePlan("ada", to(State.DONE)), State.CANCELLED),
        (ChangePlan("ada", to(State.CLAIMED)), {"$in": list(HELD)}),
        (ChangePlan("ada", Target((State.QUEUED, State.FAILED), literal("queued"))), {"$in": list(ACTIVE)}),
        (reopening("ada"), State.RUNNING),
    ],
)
def test_a_move_that_the_table_does_not_know_is_a_defect(plan: ChangePlan, leaving: object) -> None:
    with pytest.raises(ValueError, match="no job goes from"):
        plan.condition({"_id": "x", "state": leaving})


def test_one_that_it_knows_is_guarded_by_its_id() -> None:
    plan = reopening("ada")
    where = {"_id": "x", "state": {"$in": list(OVER)}}
    assert plan.condition(where) == {**where, "history.id": {"$ne": plan.id}}
