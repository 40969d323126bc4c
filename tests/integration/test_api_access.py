"""Who may do what: tokens, roles, other people's jobs, callers without a token."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from heliograph.identity.tokens import Tokens
from heliograph.ids import new_id
from tests.parts.api import ADA, KEY, OLD_KEY, SUM, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)
JOB_ROUTES = (
    ("GET", ""), ("GET", "?wait=1"), ("GET", "/history"), ("GET", "/log"), ("GET", "/artifacts"),
    ("GET", "/artifacts/table.csv"), ("GET", "/notices"), ("POST", "/cancel"), ("POST", "/retry"),
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url) as opened:
        yield opened


def signed(key: str = KEY, **claims: Any) -> str:
    return jwt.encode({"sub": ADA, "exp": IN_AN_HOUR, **claims}, key, algorithm="HS256")


def unsigned() -> str:
    header, payload = ({"alg": "none", "typ": "JWT"}, {"sub": ADA, "exp": IN_AN_HOUR.timestamp()})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in (header, payload)) + "."


def forged() -> str:
    """A token of Ada's whose payload somebody changed."""
    header, _, signature = signed().split(".")
    payload = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": 4e9}).encode()).decode().rstrip("=")
    return f"{header}.{payload}.{signature}"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (signed(exp=datetime.now(UTC) - timedelta(seconds=5)), "expired"),
        (forged(), "not valid"),
        (unsigned(), "not valid"),
        (signed("some other key, just as long as ours"), "not valid"),
        (jwt.encode({"sub": ADA}, KEY, algorithm="HS256"), "exp"),
        (jwt.encode({"sub": ADA, "exp": IN_AN_HOUR}, KEY * 2, algorithm="HS512"), "not valid"),
        (signed(sub=""), "nobody"),
        (signed(sub="\ud800"), "printed"),
        (signed(nbf=IN_AN_HOUR), "not valid"),
        ("garbage", "not valid"),
        ("a.b.c", "not valid"),
        (base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30", "not valid"),
        ("", "not of the form"),
    ],
    ids=["expired", "forged", "none", "other key", "no exp", "other algorithm", "no subject", "half a pair",
         "not yet", "garbage", "dots", "deep", "empty"],
)  # fmt: skip
async def test_a_token_that_does_not_hold_is_refused(api: Api, token: str, words: str) -> None:
    before = await api.stored()
    caller = api.bearer(token)
    for answer in (await caller.post("/v1/jobs", json=SUM), await caller.get("/v1/jobs"), await caller.get("/v1/me")):
        assert words in problem(answer, 401)["detail"]
        assert answer.headers["www-authenticate"] == "Bearer"
    assert await api.stored() == before


async def test_a_refusal_does_not_repeat_the_token(api: Api) -> None:
    token = forged()
    assert token not in (await api.bearer(token).get("/v1/me")).text


async def test_another_scheme_is_refused(api: Api) -> None:
    answer = await api.bearer(None).get("/v1/me", auth=("ada", "secret"))
    assert "Bearer <token>" in problem(answer, 401)["detail"]


async def test_both_keys_verify_while_they_rotate(api: Api) -> None:
    for key in (KEY, OLD_KEY):
        assert (await api.client(ADA, key=key).get("/v1/me")).json()["subject"] == ADA


async def test_the_first_key_signs() -> None:
    token = Tokens([KEY, OLD_KEY]).sign(ADA, lifetime=timedelta(hours=1))
    assert jwt.decode(token, KEY, algorithms=["HS256"])["sub"] == ADA


async def test_the_claims_of_the_platform_are_understood(api: Api) -> None:
    """Roles as one text, no sub but an e-mail, an audience, an expiry with a fraction, an odd iat."""
    token = jwt.encode(
        {"email": ADA, "roles": "job manager, unige-hpc-full,", "exp": IN_AN_HOUR.timestamp() + 0.5, "aud": "oda",
         "iat": 4e9, "name": "Ada"},
        KEY, algorithm="HS256",
    )  # fmt: skip
    found = (await api.bearer(token).get("/v1/me")).json()
    assert found["subject"] == ADA
    assert found["name"] == "Ada"
    assert found["roles"] == ["job manager", "unige-hpc-full", "user"]


async def test_words_in_a_token_that_cannot_be_written_are_passed_over(api: Api) -> None:
    found = await api.bearer(signed(name="A\ud800", roles=["x\ud800", "operator", 7])).get("/v1/me")
    assert found.json() | {"may": []} == {"subject": ADA, "name": None, "roles": ["operator", "user"], "may": []}


async def test_nobody_can_call_themselves_anonymous(api: Api) -> None:
    found = (await api.client(ADA, "anonymous").get("/v1/me")).json()
    assert found["roles"] == ["user"]


@pytest.mark.parametrize(("method", "rest"), JOB_ROUTES)
async def test_another_users_job_is_not_found(api: Api, method: str, rest: str) -> None:
    job = await api.submit()
    answer = await api.bob.request(method, f"/v1/jobs/{job['id']}{rest}")
    unknown = await api.bob.request(method, f"/v1/jobs/{new_id()}{rest}")
    found, other = problem(answer, 404), problem(unknown, 404)
    assert found["detail"].replace(job["id"], "") == other["detail"].replace(other["detail"].split()[-1], "")
    assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued"


async def test_a_user_lists_their_own_jobs(api: Api) -> None:
    await api.submit()
    listed = (await api.ada.get("/v1/jobs", params={"owner": ADA})).json()["items"]
    assert listed
    assert {job["owner"] for job in listed} == {ADA}
    assert (await api.client("new@example.org").get("/v1/jobs")).json()["items"] == []
    problem(await api.bob.get("/v1/jobs", params={"owner": ADA}), 403)


async def test_an_operator_sees_and_changes_everybodys_jobs(api: Api) -> None:
    job = await api.submit()
    olga = api.client("olga@example.org", "operator")
    assert job["id"] in [each["id"] for each in (await olga.get("/v1/jobs", params={"owner": ADA})).json()["items"]]
    assert (await olga.get(f"/v1/jobs/{job['id']}")).json()["owner"] == ADA
    assert (await olga.post(f"/v1/jobs/{job['id']}/cancel")).json()["state"] == "cancelled"
    history = (await api.ada.get(f"/v1/jobs/{job['id']}/history")).json()["items"]
    assert history[-1]["by"] == "olga@example.org"
    assert (await olga.post(f"/v1/jobs/{job['id']}/retry")).json()["state"] == "queued"


async def test_a_job_manager_sees_everybodys_jobs_and_changes_none(api: Api) -> None:
    job = await api.submit()
    manager = api.client("mia@example.org", "job manager")
    assert (await manager.get(f"/v1/jobs/{job['id']}")).json()["id"] == job["id"]
    problem(await manager.post(f"/v1/jobs/{job['id']}/cancel"), 403)
    problem(await manager.post(f"/v1/jobs/{job['id']}/retry"), 403)
    assert (await manager.get(f"/v1/jobs/{job['id']}")).json()["state"] == "queued"


async def test_all_notices_are_for_those_who_see_all_jobs(api: Api) -> None:
    refused = problem(await api.ada.get("/v1/notices"), 403)
    assert "admin, operator, job manager; name a job of yours" in refused["detail"]
    assert (await api.client("mia@example.org", "job manager").get("/v1/notices")).status_code == httpx.codes.OK


async def test_a_backend_takes_the_roles_that_it_asks_for(api: Api) -> None:
    await api.database.collection("backends").insert_one({
        "_id": "restricted", "version": "1", "rank": "", "title": "", "description": "", "schema": "{}",
        "roles": ["oda workflow developer", "unige-hpc-full"], "timeout_seconds": None,
    })  # fmt: skip
    body = {"backend": "restricted"}
    before = await api.stored()
    one = api.client(ADA, "unige-hpc-full")
    assert "oda workflow developer" in problem(await one.post("/v1/jobs", json=body), 403)["detail"]
    assert await api.stored() == before
    both = api.client(ADA, "unige-hpc-full", "oda workflow developer")
    assert (await both.post("/v1/jobs", json=body)).status_code == httpx.codes.CREATED


async def test_without_a_token_nothing_is_done(api: Api) -> None:
    stranger = api.bearer(None)
    before = await api.stored()
    for method, path in (
        ("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("POST", "/v1/uploads"), ("GET", "/v1/backends"),
        ("GET", "/v1/backends/sum"), ("DELETE", "/v1/backends/sum"), ("GET", "/v1/me"), ("GET", "/v1/notices"),
        *((method, f"/v1/jobs/{new_id()}{rest}") for method, rest in JOB_ROUTES),
    ):  # fmt: skip
        problem(await stranger.request(method, path), 401)
    assert await api.stored() == before


async def test_anonymous_access_where_it_is_on(mongodb_url: str) -> None:
    async with open_api(mongodb_url, allow_anonymous=True) as api:
        stranger = api.bearer(None)
        job = await api.submit(stranger, backend="async-sum")
        assert job["owner"] == "anonymous"
        assert (await stranger.get(f"/v1/jobs/{job['id']}")).json()["id"] == job["id"]
        problem(await stranger.get("/v1/jobs"), 403)
        problem(await stranger.post(f"/v1/jobs/{job['id']}/cancel"), 403)
        problem(await stranger.get(f"/v1/jobs/{(await api.submit())['id']}"), 404)
        body = SUM | {"backend": "async-sum"}
        answer = await stranger.post("/v1/jobs", json=body, headers={"Idempotency-Key": "a"})
        problem(answer, 422, "Idempotency-Key")
        problem(await api.bearer("garbage").get("/v1/me"), 401)  # a bad token is not the same as none
