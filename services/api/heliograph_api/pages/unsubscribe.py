"""The way out of every message: one click in a mail program (RFC 8058), or a page with a button.

A link is opened by scanners of mail and by previews too: only a POST changes anything.
"""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from heliograph.ids import short_id
from heliograph.notices.links import Silence, read_silence
from heliograph.notices.mutes import Mute, MuteScope
from heliograph_api.pages.form import read_form
from heliograph_api.pages.rendering import PageRoute, digest, link_keys, now, page
from heliograph_api.parts import parts_of, require_database

router = APIRouter(prefix="/v1", route_class=PageRoute, dependencies=[Depends(require_database)])

MADE_BY = "an unsubscribe link"
_CHANNELS = {"email": "by e-mail", "matrix": "over Matrix"}


@router.get("/unsubscribe/{token}", include_in_schema=False)
async def ask(request: Request, token: str) -> Response:
    """Show what would be stopped, or what is stopped already, with a button."""
    silence = read_silence(link_keys(request), token, now())
    mutes = await parts_of(request).mutes.touching((), [(silence.channel, silence.recipient)])
    if any(mute.id == _id(silence) for mute in mutes):
        return _stopped(silence, "These messages are stopped already")
    return _page(silence, "Stop these messages?", "will get no more messages", "stop", "Stop them")


@router.post("/unsubscribe/{token}", include_in_schema=False)
async def act(request: Request, token: str) -> Response:
    """Stop what the link binds, or undo that; whatever else the body says, the address says enough."""
    silence = read_silence(link_keys(request), token, now())
    mutes = parts_of(request).mutes
    if (await read_form(request)).get("action") == "undo":
        await mutes.remove(_id(silence))
        return _page(silence, "You are told again", "gets messages as before", "stop", "Stop them after all")
    await mutes.add(Mute(
        _id(silence), silence.scope, MADE_BY, now(), of=silence.of, owner=silence.owner, channel=silence.channel,
        recipient=silence.recipient,
    ))  # fmt: skip
    return _stopped(silence, "Done: these messages are stopped")


def _id(silence: Silence) -> str:
    """Return the mute's id: the same for every link that asks for the same, so that any of them can undo it."""
    words = (silence.channel, silence.recipient, silence.scope.value, silence.of, silence.owner)
    return f"link-{digest(*words)}"


def _stopped(silence: Silence, title: str) -> Response:
    return _page(silence, title, "gets no more messages", "undo", "Undo")


def _page(silence: Silence, title: str, what: str, action: str, label: str) -> Response:
    about = {
        MuteScope.ALL: "from this service",
        MuteScope.JOB: f"about the request {short_id(silence.of or '')}",
        MuteScope.GROUP: f"about the group {silence.of}",
    }[silence.scope]
    channel = _CHANNELS.get(silence.channel, f"over {silence.channel}")
    return page(
        "unsubscribe.html", title=title, recipient=silence.recipient, what=f"{what} {about} {channel}.", action=action,
        label=label,
    )  # fmt: skip
