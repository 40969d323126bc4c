"""Making one change, with its answer possibly lost on the way."""

import asyncio
from collections.abc import Mapping
from typing import Any

from heliograph.jobs.store.changes import ChangePlan
from heliograph.storage import Collection, Document, StoreUnavailableError
from heliograph.storage.errors import translated

TRIES = 3
PAUSE_SECONDS = 0.2  # a connection that broke is made anew in less


async def apply_change(
    jobs: Collection, where: Mapping[str, Any], plan: ChangePlan, *, sort: list[tuple[str, int]] | None = None
) -> Document | None:
    """Make a change where ``where`` holds and return the job after it; None where it does not hold.

    After a network error the change may or may not be made: it is tried again under its id, and one that is found
    made is a success.
    """
    pipeline = plan.pipeline()
    for attempt in range(1, TRIES + 1):
        try:
            with translated():
                found: Document | None = await jobs.find_one_and_update(
                    plan.condition(where), pipeline, sort=sort, return_document=True
                )
                if found is None and attempt > 1:
                    found = await jobs.find_one({**_identity(where), "history.id": plan.id})
        except StoreUnavailableError:
            if attempt == TRIES:
                raise
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        else:
            return found
    return None


def _identity(where: Mapping[str, Any]) -> dict[str, Any]:
    return {"_id": where["_id"]} if "_id" in where else {"lease.until": {"$type": "date"}}
