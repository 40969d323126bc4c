"""The way out of every message: what a link shows, what it does, and that it does no more."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from heliograph.ids import new_id
from heliograph.notices.links import SILENCE_LASTS, Silence, report_token, silence_token
from heliograph.notices.mutes import Mute, MuteScope, MuteStore
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings
from tests.parts.api import ADA, Api, open_api
from tests.parts.smtp import MailServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
LINK_KEY = "a key that signs links of these tests, and nothing else"
ALL = Silence("email", ADA, MuteScope.ALL)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=(LINK_KEY,)) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(opened: Api) -> Api:
    await opened.database.collection("mutes").delete_many({})
    return opened


def link(silence: Silence = ALL, age: timedelta = timedelta(0)) -> str:
    return f"/v1/unsubscribe/{silence_token([LINK_KEY], silence, datetime.now(UTC) - age)}"


async def stored(api: Api, silence: Silence = ALL) -> list[Mute]:
    return await MuteStore(api.database).touching([], [(silence.channel, silence.recipient)])


async def test_looking_at_the_link_changes_nothing(api: Api) -> None:
    answer = await api.bearer(None).get(link())
    assert answer.status_code == httpx.codes.OK
    assert "Stop these messages?" in answer.text
    assert ADA in answer.text
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert await stored(api) == []


@pytest.mark.parametrize(
    "request_of",
    [{"data": {"List-Unsubscribe": "One-Click"}}, {"files": {"List-Unsubscribe": (None, "One-Click")}}, {},
     {"data": {"action": "stop"}}],
    ids=["form", "multipart", "no body", "button"],
)  # fmt: skip
async def test_one_click_stops_them(api: Api, request_of: dict[str, dict[str, str]]) -> None:
    answer = await api.bearer(None).post(link(), **request_of)  # type: ignore[arg-type]  # whichever httpx takes
    assert answer.status_code == httpx.codes.OK
    (mute,) = await stored(api)
    assert (mute.scope, mute.channel, mute.recipient, mute.made_by) == (
        MuteScope.ALL, "email", ADA, "an unsubscribe link",
    )  # fmt: skip
    assert mute.holds(person=None, channel="email", recipient=ADA, job="j", group=None, at=datetime.now(UTC))


async def test_twice_is_once_and_any_such_link_undoes_it(api: Api) -> None:
    stranger = api.bearer(None)
    for age in (timedelta(0), timedelta(0), timedelta(days=30)):  # of the same mail, and of an older one
        assert (await stranger.post(link(age=age))).status_code == httpx.codes.OK
    assert len(await stored(api)) == 1
    assert "stopped already" in (await stranger.get(link())).text
    undone = await stranger.post(link(age=timedelta(days=1)), data={"action": "undo"})
    assert "You are told again" in undone.text
    assert await stored(api) == []
    assert (await stranger.post(link(), data={"action": "undo"})).status_code == httpx.codes.OK


@pytest.mark.parametrize(
    ("silence", "words"),
    [(Silence("email", ADA, MuteScope.JOB, "01JABCDEFGHJKMNPQRSTVWXYZ0"), "RSTVWXYZ0"[-8:]),
     (Silence("matrix", "!dome:example.org", MuteScope.GROUP, "night & day", ADA), "night &amp; day")],
)  # fmt: skip
async def test_a_link_binds_one_job_or_one_group(api: Api, silence: Silence, words: str) -> None:
    answer = await api.bearer(None).post(link(silence))
    assert words in answer.text
    (mute,) = await stored(api, silence)
    assert (mute.scope, mute.of, mute.owner) == (silence.scope, silence.of, silence.owner)
    assert not mute.holds(
        person=None, channel=silence.channel, recipient=silence.recipient, job=new_id(), group=(ADA, "other"),
        at=datetime.now(UTC),
    )  # fmt: skip


async def test_hostile_words_stay_words(api: Api) -> None:
    hostile = Silence("apprise", "\"><script>alert('1')</script>$title", MuteScope.GROUP, "<img src=x>${x}", ADA)
    for method in ("GET", "POST"):
        text = (await api.bearer(None).request(method, link(hostile))).text
        assert "<script" not in text
        assert "<img" not in text
        assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;$title" in text
        assert "&lt;img src=x&gt;${x}" in text


async def test_a_link_that_does_not_hold_is_refused_with_a_page(api: Api) -> None:
    stranger = api.bearer(None)
    of_another_purpose = report_token([LINK_KEY], new_id(), ADA, datetime.now(UTC))
    expired = link(age=SILENCE_LASTS + timedelta(minutes=1))
    by_another = silence_token(["another key that signs, of nobody here"], ALL, datetime.now(UTC))
    for path in (expired, link() + "x", f"/v1/unsubscribe/{of_another_purpose}", f"/v1/unsubscribe/{by_another}"):
        for method in ("GET", "POST"):
            refused = await stranger.request(method, path)
            assert refused.status_code == httpx.codes.FORBIDDEN
            assert refused.headers["content-type"].startswith("text/html")
            assert "This link does not work" in refused.text
            assert ADA not in refused.text
    assert await stored(api) == []


async def test_without_keys_there_are_no_links(mongodb_url: str) -> None:
    async with open_api(mongodb_url) as api:
        answer = await api.bearer(None).get(link())
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert "HELIOGRAPH_LINK_KEYS" in answer.text


async def test_a_mutes_owner_sees_what_the_link_did(api: Api) -> None:
    await api.bearer(None).post(link())
    (found,) = (await api.ada.get("/v1/mutes")).json()["items"]
    assert (await api.ada.delete(f"/v1/mutes/{found['id']}")).status_code == httpx.codes.NO_CONTENT
    assert await stored(api) == []


async def test_the_header_of_a_mail_leads_here(api: Api) -> None:
    async with MailServer() as server:
        settings = NotifierSettings(
            mongodb_url="mongodb://unused", bus_url="memory://", smtp_url=server.url,
            mail_from="heliograph@example.org", metrics_port=None, link_keys=(LINK_KEY,), public_url=api.url,
        )  # fmt: skip
        async with Notifier(settings, database=api.database, bus=api.bus):
            await api.submit()
            (mail,) = await server.wait_for_mails(1)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = re.sub(r"\s", "", mail["List-Unsubscribe"]).strip("<>")
    assert (await api.bearer(None).post(address, data={"List-Unsubscribe": "One-Click"})).status_code == httpx.codes.OK
    (mute,) = await stored(api)
    assert (mute.scope, mute.recipient) == (MuteScope.ALL, ADA)
