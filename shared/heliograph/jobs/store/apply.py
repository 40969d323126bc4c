"""Making one change, with its answer possibly lost on the way."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heliograph.ids import new_token
from heliograph.jobs.store.changes import ChangePlan
from heliograph.storage import Collection, Document, StoreUnavailableError
from heliograph.storage.errors import translated

TRIES = 3
WITHOUT_SECRETS = {"secrets": 0}
PAUSE_SECONDS = 0.2  # a connection that broke is made anew in less


async def apply_change(
    jobs: Collection, where: Mapping[str, Any], plan: ChangePlan, *, sort: list[tuple[str, int]] | None = None,
    view: Mapping[str, int] | None = WITHOUT_SECRETS,
) -> Document | None:  # fmt: skip
    """Make a change where ``where`` holds and return the job after it, as ``view`` has it; None where it does not hold.

    After a network error the change may be made or not: it is looked for by its id, and tried again where it is not
    found. Where ``where`` names no job, each try has an id of its own, so that no id ever stands in two jobs.
    """
    tried: list[str] = []
    while True:
        try:
            with translated():
                made = await _made(jobs, where, tried, view)
                if made is None:
                    made = await jobs.find_one_and_update(
                        plan.condition(where), plan.pipeline(), view, sort=sort, return_document=True
                    )
                # Between the two an earlier try may have come through after all.
                return made if made is not None else await _made(jobs, where, tried, view)
        except StoreUnavailableError:
            tried.append(plan.id)
            if len(tried) == TRIES:
                raise
            await asyncio.sleep(PAUSE_SECONDS * len(tried))
            if "_id" not in where:
                plan = replace(plan, id=new_token())


async def _made(
    jobs: Collection, where: Mapping[str, Any], tried: Sequence[str], view: Mapping[str, int] | None
) -> Document | None:
    if not tried:
        return None
    # A claim is looked for among what is held; one that ended in `cancelled` leaves its event to the sweep.
    job = {"_id": where["_id"]} if "_id" in where else {"lease.until": {"$exists": True}}
    found: Document | None = await jobs.find_one({**job, "history.id": {"$in": list(tried)}}, view)
    return found
