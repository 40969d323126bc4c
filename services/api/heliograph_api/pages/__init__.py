"""Pages for people: where the links of notices lead. None needs a login, and none runs a foreign script."""

from fastapi import APIRouter

from heliograph_api.pages import home, job, report, swagger, unsubscribe

router = APIRouter()
for module in (home, job, unsubscribe, report, swagger):
    router.include_router(module.router)
