"""Reporting a problem with a job from a link in a notice, without a login."""

import re

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from heliograph.ids import new_id, short_id
from heliograph.notices.bulletins import Bulletin
from heliograph.notices.links import read_report
from heliograph.notices.model import SubjectKind
from heliograph.wire.bulletins import MOST_CHARACTERS
from heliograph_api.pages.form import read_form
from heliograph_api.pages.rendering import PageRoute, digest, link_keys, now, page
from heliograph_api.parts import parts_of, require_database
from heliograph_api.reporting import report

router = APIRouter(prefix="/v1", route_class=PageRoute, dependencies=[Depends(require_database)])

_TITLE = "Report a problem"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@router.get("/report/{token}", include_in_schema=False)
async def ask(request: Request, token: str) -> Response:
    """Show a form for what went wrong."""
    job, _ = read_report(link_keys(request), token, now())
    return _form(job)


@router.post("/report/{token}", include_in_schema=False)
async def take(request: Request, token: str) -> Response:
    """Pass a report on to the operators."""
    job, recipient = read_report(link_keys(request), token, now())
    text = _CONTROL.sub("", (await read_form(request)).get("text", "").replace("\r\n", "\n")).strip()
    if not text:
        return _form(job, "Say in a few words what went wrong.", status=422)
    if len(text) > MOST_CHARACTERS:
        return _form(job, f"This is too long: at most {MOST_CHARACTERS:,} characters.", text, status=422)
    bulletin = Bulletin(new_id(), SubjectKind.INCIDENT, recipient, now(), text, job=job)
    parts = parts_of(request)
    await report(parts, bulletin, f"report|{digest(job, recipient)}")
    kept = "The operators are told." if await parts.announced_channels.tells_incidents() else "It is kept."
    said = f"{kept} Your report is number {short_id(bulletin.id)}; you can close this page."
    return page("said.html", title="Thank you", text=said)


def _form(job: str, fault: str = "", text: str = "", status: int = 200) -> Response:
    return page(
        "report.html", status, title=_TITLE, job=short_id(job), fault=fault, text=text, most=str(MOST_CHARACTERS)
    )
