"""What the caller prefers to be told."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from heliograph.identity.identity import Identity
from heliograph.notices.claims import claimed_wishes
from heliograph.notices.preferences import Preferences
from heliograph.notices.reach import reached, require_own
from heliograph.wire.preferences import EffectiveWishes, NotificationPreferences, PreferencesView
from heliograph_api.merging import merged
from heliograph_api.parts import parts_of
from heliograph_api.person import Person, places_of
from heliograph_api.preferences import shown, stored
from heliograph_api.reading import body_of, judged, read_object
from heliograph_api.responses import json_response, problems

router = APIRouter(prefix="/v1", tags=["notifications"])

MERGE_PATCH = "application/merge-patch+json"


@router.get(
    "/me/notifications", summary="Read what you prefer to be told", response_model=PreferencesView,
    responses=problems(401, 403),
)  # fmt: skip
async def read_preferences(request: Request, caller: Person) -> Response:
    """Answer with the stored preferences and, by channel, what they and the token amount to, and the defaults."""
    return await _answer(request, caller, await parts_of(request).preferences.get(caller.subject))


@router.patch(
    "/me/notifications", summary="Change what you prefer to be told", response_model=PreferencesView,
    responses=problems(400, 401, 403, 409, 413, 422), openapi_extra=body_of(NotificationPreferences, MERGE_PATCH),
)  # fmt: skip
async def change_preferences(request: Request, caller: Person) -> Response:
    """Change what the body names, as a JSON merge patch (RFC 7396): null takes back what was stated.

    They hold for every notice that is planned from now on, whatever token a job was submitted with. What a submission
    itself asks for goes before them.
    """
    patch = await read_object(request)
    await _require_own(request, caller, patch)

    def change(before: Preferences) -> Preferences:
        return stored(judged(NotificationPreferences, merged(shown(before).stated(), patch)), before)

    return await _answer(request, caller, await parts_of(request).preferences.change(caller.subject, change))


async def _require_own(request: Request, caller: Identity, patch: dict[str, Any]) -> None:
    """Refuse recipients, where the patch states some, that are not the caller's."""
    places: frozenset[tuple[str, str]] | None = None
    for channel, name in (("email", "recipient"), ("matrix", "room")):
        wishes = patch.get(channel)
        recipient = wishes.get(name) if isinstance(wishes, dict) else None
        if isinstance(recipient, str):
            places = await places_of(request, caller) if places is None else places
            require_own(caller, places, f"{channel}.{name}", channel, recipient)


async def _answer(request: Request, caller: Identity, preferences: Preferences) -> Response:
    wishes = reached(claimed_wishes(caller.claims), preferences)
    effective = {wish.channel: EffectiveWishes.from_wish(wish).model_dump() for wish in wishes}
    stated = {**dict.fromkeys(NotificationPreferences.model_fields), **shown(preferences).stated()}
    defaults = await parts_of(request).announced_channels.defaults()
    return json_response({**stated, "effective": effective, "defaults": defaults})
