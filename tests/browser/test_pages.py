"""The pages as people meet them: in a real browser, from the link of a message on."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Route, expect

from heliograph.json_text import canonical_json
from heliograph.masking import MASK
from heliograph.notices.bulletins import BulletinStore
from heliograph.notices.links import Silence, report_token, silence_token
from heliograph.notices.mutes import MuteScope, MuteStore
from tests.parts.api import ADA, Api, open_api

pytestmark = pytest.mark.asyncio(loop_scope="session")
LINK_KEY = "a key that signs links of these tests, and nothing else"
HOSTILE = '<img src=x onerror="document.title=1">'
PATIENCE = 60_000  # milliseconds
expect.set_options(timeout=PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, link_keys=(LINK_KEY,)) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A fresh tab on a phone, which fails where a page breaks its own policy or a script of it fails."""
    faults: list[str] = []
    context = await browser.new_context(viewport={"width": 390, "height": 800}, accept_downloads=True)
    try:
        opened = await context.new_page()
        opened.set_default_timeout(PATIENCE)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        yield opened
        assert await opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than a phone"
    finally:
        await context.close()
    assert faults == []


def token(api: Api) -> str:
    return api.ada.headers["authorization"].removeprefix("Bearer ")


async def enter(page: Page, api: Api, job: dict[str, Any], place: str = "") -> None:
    """Follow a link to a job's page, and show a token."""
    await page.goto(f"{api.url}/jobs/{job['id']}{place}")
    await page.get_by_label("Your token").fill(token(api))
    await page.get_by_role("button", name="Show the request").click()


async def test_a_job_is_followed_to_its_end(api: Api, page: Page, tmp_path: Path) -> None:
    job = await api.submit(backend="progress", parameters={"folder": str(tmp_path)}, name=HOSTILE)
    await enter(page, api, job)
    await expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    await expect(page.locator("#state")).to_have_text("queued")
    async with api.worker(tmp_path / "scratch", "good:steps"):
        await expect(page.locator(".state")).to_have_text("running reading, 25 %", timeout=PATIENCE)
        await expect(page.locator("#progress")).to_have_js_property("value", 0.25)
        await expect(page.locator("#message")).to_have_text("Reading the table")
        (tmp_path / "seen").touch()
        await expect(page.locator("#state")).to_have_text("done", timeout=PATIENCE)
    await expect(page).to_have_title(f"done: {HOSTILE}")
    await expect(page.locator("#parameters")).to_contain_text(str(tmp_path))
    await expect(page.locator("#facts")).to_contain_text(ADA)
    await expect(page.locator("#facts")).to_contain_text(f"Job{job['id']}")
    await expect(page.locator("#facts")).to_contain_text(re.compile(r"Requested[^U]*UTC"))
    await expect(page.locator("#progress")).to_be_hidden()


async def test_its_log_and_its_files_are_fetched_with_the_token(api: Api, page: Page, tmp_path: Path) -> None:
    talking = await api.submit(backend="talk", parameters={})
    filing = await api.submit(backend="files", parameters={})
    async with api.worker(tmp_path, "good:talk", "good:files"):
        for job in (talking, filing):
            await api.over(job)
    await enter(page, api, talking, "#log")
    await expect(page.get_by_label("Log", exact=True)).to_contain_text("from a subprocess")
    await page.goto(f"{api.url}/jobs/{filing['id']}")  # the tab knows the token
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download table.csv").click()
    download = await downloading.value
    assert download.suggested_filename == "table.csv"
    await download.save_as(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes() == b"1,2\n"


async def test_a_request_is_repeated_after_a_question(api: Api, page: Page) -> None:
    job = await api.submit(name="mine", group="night", timeout_seconds=60)
    await enter(page, api, job, "#repeat")
    await page.get_by_role("button", name="Leave it").click()
    assert await api.stored(name="mine") == 1
    await page.get_by_role("button", name="Repeat this request").click()
    await page.get_by_role("button", name="Submit it again").click()
    await page.wait_for_url(lambda url: "/jobs/" in url and job["id"] not in url)
    await expect(page.locator("#state")).to_have_text("queued")
    again = (await api.ada.get(f"/v1/jobs/{page.url.rsplit('/', 1)[-1]}")).json()
    for field in ("backend", "parameters", "name", "group", "timeout_seconds", "max_attempts", "owner"):
        assert again[field] == job[field], field
    assert await api.stored(name="mine") == 2


async def test_a_request_with_a_secret_is_not_repeated_without_it(api: Api, page: Page) -> None:
    job = await api.submit(name="masked")
    shown = {"left": 1, "login": {"password": MASK}}  # as admission leaves it of a backend that takes a secret
    await api.jobs.update_one({"_id": job["id"]}, {"$set": {"parameters": canonical_json(shown)}})
    await enter(page, api, job, "#repeat")  # as a message of an older release leads there
    await expect(page.locator("#withheld")).to_contain_text("submit it anew, with the secret")
    await expect(page.get_by_role("button", name="Repeat this request")).to_be_hidden()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.get_by_role("alert")).to_be_hidden()
    assert await api.stored(name="masked") == 1


async def test_a_request_that_is_over_is_run_again_by_those_who_may(api: Api, page: Page) -> None:
    job = await api.submit(name="once more")
    await enter(page, api, job)
    again = page.get_by_role("button", name="Run it again")
    await expect(page.locator("#state")).to_have_text("queued")
    await expect(again).to_be_hidden()
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
    await expect(page.locator("#state")).to_have_text("cancelled")
    await again.click()
    await page.get_by_role("button", name="Leave it").click()
    await again.click()
    await page.get_by_role("dialog").get_by_role("button", name="Run it again").click()
    await expect(page.locator("#state")).to_have_text("queued")
    await expect(again).to_be_hidden()
    assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["series"] == 2
    await api.ada.post(f"/v1/jobs/{job['id']}/cancel")
    await expect(again).to_be_visible()
    watching = api.client("mia@example.org", "job manager").headers["authorization"].removeprefix("Bearer ")
    await page.get_by_role("button", name="Forget my token").click()
    await page.get_by_label("Your token").fill(watching)
    async with page.expect_response("**/v1/me") as rights:
        await page.get_by_role("button", name="Show the request").click()
    await (await rights.value).finished()
    await expect(page.get_by_role("button", name="Repeat this request")).to_be_visible()
    await expect(again).to_be_hidden()


async def test_without_a_token_that_holds_the_page_shows_nothing(api: Api, page: Page) -> None:
    job = await api.submit(name="a secret name")
    await page.goto(f"{api.url}/jobs/{job['id']}")
    await page.get_by_label("Your token").fill("forged")
    await page.get_by_role("button", name="Show the request").click()
    await expect(page.get_by_role("alert").first).to_have_text("The token is not valid.")
    assert "a secret name" not in await page.content()
    await page.get_by_label("Your token").fill(api.bob.headers["authorization"].removeprefix("Bearer "))
    await page.get_by_role("button", name="Show the request").click()
    await expect(page.get_by_role("alert").first).to_contain_text("There is no such request")
    await expect(page.locator("#job")).to_be_hidden()


async def test_a_wrong_address_does_not_cost_the_token(api: Api, page: Page) -> None:
    job = await api.submit()
    await page.goto(f"{api.url}/jobs/unknown")
    await page.get_by_label("Your token").fill(token(api))
    await page.get_by_role("button", name="Show the request").click()
    await expect(page.get_by_role("alert").first).to_contain_text("There is no such request")
    await page.goto(f"{api.url}/jobs/{job['id']}")
    await expect(page.locator("#state")).to_have_text("queued")


async def test_the_address_itself_leads_on(api: Api, page: Page) -> None:
    answer = await page.goto(api.url)
    assert answer
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    color = await page.locator("main").evaluate("main => getComputedStyle(main).backgroundColor")
    assert color == "rgb(255, 255, 255)"  # the style sheet was found and allowed
    links = await page.get_by_role("link").evaluate_all("links => links.map(link => link.href)")
    assert links == [f"{api.url}/{name}" for name in ("docs", "openapi.json", "readyz", "metrics")]
    for link in links:
        assert (await page.request.get(link)).ok, link


async def test_the_token_stays_in_the_tab_and_is_forgotten_on_request(api: Api, page: Page, browser: Browser) -> None:
    job = await api.submit()
    await enter(page, api, job)
    await expect(page.locator("#state")).to_have_text("queued")
    assert await page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    assert token(api) not in page.url
    await page.get_by_role("button", name="Forget my token").click()
    await expect(page.get_by_label("Your token")).to_be_focused()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_messages_are_stopped_and_wanted_again_by_buttons(api: Api, page: Page) -> None:
    link = silence_token([LINK_KEY], Silence("email", ADA, MuteScope.GROUP, HOSTILE, ADA), datetime.now(UTC))

    async def mutes() -> int:
        return len(await MuteStore(api.database).touching([], [("email", ADA)]))

    await page.goto(f"{api.url}/v1/unsubscribe/{link}")
    await expect(page.locator("main")).to_contain_text(f"about the group {HOSTILE} by e-mail")
    assert await mutes() == 0
    await page.get_by_role("button", name="Stop them").click()
    await expect(page.get_by_role("heading")).to_contain_text("Done")
    assert await mutes() == 1
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_role("heading")).to_contain_text("told again")
    assert await mutes() == 0
    color = await page.get_by_role("button").evaluate("button => getComputedStyle(button).backgroundColor")
    assert color == "rgb(31, 95, 174)"  # the style sheet was found and allowed


async def test_a_problem_is_reported_by_a_form(api: Api, page: Page) -> None:
    job = await api.submit()
    await page.goto(f"{api.url}/v1/report/{report_token([LINK_KEY], job['id'], ADA, datetime.now(UTC))}")
    await page.get_by_label("What went wrong?").fill("The field is empty: 5° off.")
    await page.get_by_role("button", name="Send the report").click()
    await expect(page.get_by_role("heading")).to_have_text("Thank you")
    (report,) = await BulletinStore(api.database).unplanned()
    assert (report.job, report.by, report.text) == (job["id"], ADA, "The field is empty: 5° off.")


async def test_the_api_describes_itself_where_no_other_network_is_reached(api: Api, page: Page) -> None:
    """Every operation is shown, and one is tried, under a policy that knows no other place."""
    outside: list[str] = []

    async def refuse(route: Route) -> None:
        outside.append(route.request.url)
        await route.abort()

    await page.route(lambda url: not url.startswith(f"{api.url}/"), refuse)
    answer = await page.goto(f"{api.url}/docs")
    assert answer
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy.pop("img-src") == "'self' data:"
    assert policy.pop("default-src") == "'none'"
    assert set(policy.values()) == {"'self'", "'none'"}
    described = api.app.openapi()["paths"]
    await expect(page.locator(".opblock")).to_have_count(sum(len(each) for each in described.values()))
    tried = page.locator(".opblock", has_text="/healthz")
    await tried.locator(".opblock-summary-control").click()
    await tried.get_by_role("button", name="Try it out").click()
    await tried.get_by_role("button", name="Execute").click()
    await expect(tried.locator(".live-responses-table")).to_contain_text('"status": "ok"')
    assert outside == []
    for path in ("/redoc", "/docs/nothing.js"):
        assert (await page.request.get(api.url + path)).status == httpx.codes.NOT_FOUND
