"""The native routes under /v1. A route translates between HTTP and the service, and holds no rule of its own."""

from fastapi import APIRouter, Depends

from heliograph_api.authentication import bearer
from heliograph_api.parts import require_database
from heliograph_api.routes import (
    agents,
    backends,
    dead,
    files,
    groups,
    incidents,
    job_details,
    jobs,
    matrix,
    me,
    mutes,
    notices,
    notifications,
    queues,
    tokens,
    watches,
)

# Each module's router has the prefix itself: a route's own path is what the metrics call it by.
router = APIRouter(dependencies=[Depends(require_database), Depends(bearer)])
for module in (
    jobs, groups, job_details, files, backends, notices, me, notifications, matrix, mutes, watches, incidents, queues,
    agents, tokens, dead,
):  # fmt: skip
    router.include_router(module.router)
