"""Bad input is refused with a problem that names the field, changes nothing, and is never a 500."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr

from tests.parts.api import SUM, Api, open_api, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_BODY_BYTES = 64 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, most_body_bytes=MOST_BODY_BYTES) as opened:
        yield opened


async def refused(api: Api, body: bytes | str, status: int, field: str | None = None) -> dict[str, Any]:
    """Submit a raw body, see it refused and nothing stored; return the problem."""
    before = await api.stored()
    answer = await api.ada.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    found = problem(answer, status, field)
    assert await api.stored() == before
    return found


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"backend": "nobody-has-it"}, "backend"),
        ({"backend": "No Name"}, "backend"),
        ({"backend": "sum\n"}, "backend"),
        ({"backend": None}, "backend"),
        ({"backend": {"$gt": ""}}, "backend"),
        ({"parameters": {"left": "two"}}, "parameters.left"),
        ({"parameters": {"left": True}}, "parameters.left"),
        ({"parameters": {"left": 0}}, "parameters.left"),
        ({"parameters": {"right": 1}}, "parameters.left"),
        ({"parameters": [1, 2]}, "parameters"),
        ({"parameters": "left=2"}, "parameters"),
        ({"parameters": None}, "parameters"),
        ({"prameters": {}}, "prameters"),
        ({"$set": {"state": "done"}}, "$set"),
        ({"owner": "eve"}, "owner"),
        ({"name": ""}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "nothing\x00"}, "name"),
        ({"name": 7}, "name"),
        ({"group": ["a"]}, "group"),
        ({"priority": 1001}, "priority"),
        ({"priority": 1}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority": "1"}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": -1}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"not_before": "soon"}, "not_before"),
        ({"not_before": "2030-01-01T00:00:00"}, "not_before"),
        ({"not_before": 1893456000}, "not_before"),
        ({"not_before": "1893456000"}, "not_before"),
        ({"not_before": "0001-01-01T00:00:00+14:00"}, "not_before"),
        ({"start_before": "9999-12-31T23:59:59-14:00"}, "start_before"),
        ({"start_before": "10000-01-01T00:00:00Z"}, "start_before"),
        ({"handler": "javascript:alert(1)"}, "handler"),
        ({"handler": "https://example.org/\r\nX: y"}, "handler"),
        ({"notify": "yes"}, "notify"),
        ({"notify": 0}, "notify"),
        ({"notify": {"pager": {}}}, "notify.pager"),
        ({"notify": {"email": {"done": "yes"}}}, "notify.email.done"),
        ({"notify": {"email": {"threshold_seconds": -1}}}, "notify.email.threshold_seconds"),
        ({"notify": {"email": {"recipient": "everybody@example.org"}}}, "notify.email.recipient"),
    ],
)
async def test_a_field_at_fault_is_named(api: Api, changes: dict[str, Any], field: str) -> None:
    await refused(api, json.dumps(SUM | changes), 422, field)


async def test_a_parameter_that_the_backend_does_not_know_is_named(api: Api) -> None:
    # "bounded" allows no other parameters, as a backend's author may choose.
    await api.database.collection("backends").insert_one({
        "_id": "bounded", "version": "1", "rank": "", "title": "", "description": "", "roles": [],
        "timeout_seconds": None,
        "schema": '{"type": "object", "properties": {"left": {"type": "integer"}}, "additionalProperties": false}',
    })  # fmt: skip
    await refused(api, '{"backend": "bounded", "parameters": {"left": 1, "up": 2}}', 422, "parameters.up")


async def test_a_missing_backend_is_named(api: Api) -> None:
    await refused(api, "{}", 422, "backend")


async def test_many_faults_make_a_short_answer(api: Api) -> None:
    body = json.dumps({**SUM, **{f"extra{number}": 1 for number in range(3000)}})
    found = await refused(api, body, 422, "extra0")
    assert len(found["errors"]) == 20


async def test_a_long_value_is_not_quoted_in_full(api: Api) -> None:
    found = await refused(api, json.dumps({"backend": "sum", "parameters": {"left": "x" * 50_000}}), 422)
    assert len(json.dumps(found)) < 2000
    assert "integer" in found["detail"]


class Login(BaseModel):
    user: str = ""
    password: SecretStr | None = None


class Logins(BaseModel):
    main: Login = Login()
    others: list[Login | int] = []
    by_host: dict[str, tuple[str, SecretStr]] = {}
    key: SecretBytes = SecretBytes(b"")
    numbers: list[int] = []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"main": {"password": "hunter2"}}, "parameters.main.password"),
        ({"others": [1, {"user": "a"}, {"password": "hunter2"}]}, "parameters.others.2.password"),
        ({"by_host": {"a.b": ["user", "hunter2"]}}, "parameters.by_host.a.b.1"),
        ({"key": "hunter2", "numbers": ["no number"]}, "parameters.key"),
        ({"main": {"password": {"hunter2": 1}}}, "parameters.main.password"),
    ],
)
async def test_a_secret_is_refused_rather_than_kept_in_clear(api: Api, parameters: dict[str, Any], field: str) -> None:
    await offer(api, "keeper", Logins.model_json_schema())
    found = await refused(api, json.dumps({"backend": "keeper", "parameters": parameters}), 422, field)
    assert "HELIOGRAPH_SEAL_KEYS" in found["detail"]
    assert "hunter2" not in json.dumps(found)


async def test_a_backend_that_takes_secrets_is_used_without(api: Api) -> None:
    await offer(api, "keeper", Logins.model_json_schema())
    parameters = {"main": {"user": "ada", "password": None}, "others": [3], "numbers": [1]}
    await api.submit(backend="keeper", parameters=parameters)


async def test_an_address_that_a_schema_refers_to_is_not_fetched(api: Api) -> None:
    calls = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(writer.get_extra_info("peername"))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await offer(api, "far", {"properties": {"left": {"$ref": f"http://127.0.0.1:{port}/left.json"}}})
        found = await refused(api, '{"backend": "far", "parameters": {"left": 1}}', 422, "backend")
        assert "schema cannot be used" in found["detail"]
        assert (await api.ada.get("/v1/backends/far")).status_code == httpx.codes.OK
    assert not calls


async def test_of_long_parameters_the_first_fault_is_told(api: Api) -> None:
    """To describe each of 100,000 faults would take seconds, in which nobody else is served."""
    await offer(api, "words", {"properties": {"words": {"items": {"type": "string"}}}})
    body = {"backend": "words", "parameters": {"words": list(range(10_000))}}
    assert len((await refused(api, json.dumps(body), 422, "parameters.words.0"))["errors"]) == 1


async def offer(api: Api, name: str, schema: dict[str, Any]) -> None:
    """Announce a backend of this schema, and let the api know it."""
    announced: dict[str, Any] = {
        "version": "1", "rank": "", "title": "", "description": "", "roles": [], "timeout_seconds": None,
        "schema": json.dumps(schema),
    }  # fmt: skip
    await api.database.collection("backends").replace_one({"_id": name}, announced, upsert=True)
    await api.ada.get("/v1/backends")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**1000, -(10**1000)], ids=range(5))
async def test_an_integer_beyond_64_bits_is_refused(api: Api, number: int) -> None:
    await refused(api, json.dumps({"backend": "sum", "parameters": {"left": number}}), 422, "parameters.left")


async def test_an_integer_of_ten_thousand_digits_is_refused(api: Api) -> None:
    await refused(api, f'{{"backend": "sum", "parameters": {{"left": {"1" * 10_000}}}}}', 400)


async def test_integers_of_64_bits_are_kept_exactly(api: Api) -> None:
    job = await api.submit(parameters={"left": 2**63 - 1, "right": -(2**63)})
    found = (await api.ada.get(f"/v1/jobs/{job['id']}")).json()
    assert found["parameters"] == {"left": 2**63 - 1, "right": -(2**63)}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
async def test_a_number_that_is_not_finite_is_refused(api: Api, word: str) -> None:
    await refused(api, f'{{"backend": "sum", "parameters": {{"left": {word}}}}}', 422, "parameters.left")
    await refused(api, f'{{"backend": "sum", "timeout_seconds": {word}}}', 422, "timeout_seconds")


@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"\ud800x", r"\ud83d\ud83d"])
async def test_half_of_a_surrogate_pair_is_refused(api: Api, half: str) -> None:
    await refused(api, f'{{"backend": "sum", "name": "{half}"}}', 422, "name")
    await refused(api, f'{{"backend": "sum", "parameters": {{"left": ["{half}"]}}}}', 422, "parameters.left.0")
    found = await refused(api, f'{{"backend": "sum", "parameters": {{"{half}": 1}}}}', 422)
    assert found["errors"][0]["field"].startswith("parameters.")


async def test_a_nul_in_a_key_is_refused(api: Api) -> None:
    await refused(api, r'{"backend": "sum", "parameters": {"a\u0000b": 1}}', 422, r"parameters.a\0b")


@pytest.mark.parametrize("depth", [101, 190, 1000, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_deep_nesting_is_refused(api: Api, depth: int, opening: str, closing: str) -> None:
    depth = min(depth, MOST_BODY_BYTES // len(opening + closing) - 100)
    body = f'{{"backend": "sum", "parameters": {{"left": {opening * depth}1{closing * depth}}}}}'
    assert "nested deeper than 100" in (await refused(api, body, 422))["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"backend": "sum"} and more', b"backend=sum", b'{"backend": "sum", }', b"{'backend': 'sum'}",
     b'{"name": "\xff\xfe"}', b'{"name": "\xed\xa0\x80"}', b"\x00", b"\xef\xbb\xbf{}", b'{"name": "a\tb"}'],
)  # fmt: skip
async def test_what_is_not_json_is_refused(api: Api, body: bytes) -> None:
    await refused(api, body, 400)


@pytest.mark.parametrize("body", ["[]", "null", "7", '"sum"', "true", "[[1]]"])
async def test_what_is_no_object_is_refused(api: Api, body: str) -> None:
    await refused(api, body, 422)


async def test_a_form_is_refused(api: Api) -> None:
    problem(await api.ada.post("/v1/jobs", data={"backend": "sum"}), 400)
    problem(await api.ada.post("/v1/jobs", files={"file": b"{}"}), 400)


async def test_a_body_over_the_limit_is_refused_by_its_declared_length(api: Api) -> None:
    await refused(api, b" " * (MOST_BODY_BYTES + 1), 413)


async def test_a_body_over_the_limit_is_refused_as_it_comes(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 1024 + 1):
            yield b" " * 1024

    before = await api.stored()
    problem(await api.ada.post("/v1/jobs", content=chunks()), 413)
    assert await api.stored() == before


async def test_a_body_of_just_the_limit_is_taken(api: Api) -> None:
    body = json.dumps(SUM).encode().ljust(MOST_BODY_BYTES)
    assert (await api.ada.post("/v1/jobs", content=body)).status_code == httpx.codes.CREATED


async def test_a_client_that_leaves_within_its_body_leaves_nothing(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    before = await api.stored()
    token = api.ada.headers["authorization"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    writer.write(
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 99\r\n\r\n{{".encode()
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await reader.read() == b""
    assert (await api.ada.get("/v1/me")).status_code == httpx.codes.OK
    assert await api.stored() == before
    assert "ASGI" not in caplog.text  # the server's word for an exception that nobody caught


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=paused", "state"), ("limit=0", "limit"), ("limit=201", "limit"), ("limit=many", "limit"),
        ("cursor=nonsense", "cursor"), ("cursor=W10", "cursor"), ("cursor=e30", "cursor"), ("cursor=%00", "cursor"),
        ("cursor=%F0%9F%94%AD", "cursor"), ("cursor=WzFd&updated_after=2020-01-01T00:00:00Z", "cursor"),
        ("created_after=yesterday", "created_after"), ("created_after=2020-01-01T00:00:00", "created_after"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "created_before"), ("created_before=nan", "created_before"),
        ("updated_after=9999-12-31T23:59:59-14:00", "updated_after"), ("updated_after=1e20", "updated_after"),
        ("stat=queued", "stat"), ("state=queued&bakcend=sum", "bakcend"), ("Limit=1", "Limit"), ("wait=1", "wait"),
        ("backend=a%00b", "backend"), ("queue=%00", "queue"), ("group=%00", "group"), ("name=%00", "name"),
    ],
)  # fmt: skip
async def test_a_bad_filter_is_named(api: Api, query: str, field: str) -> None:
    problem(await api.ada.get(f"/v1/jobs?{query}"), 422, field)


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=long", "wait=nan", "wait=inf", "wait=1&state=paused"])
async def test_a_bad_wait_is_refused(api: Api, query: str) -> None:
    job = await api.submit()
    problem(await api.ada.get(f"/v1/jobs/{job['id']}?{query}"), 422, "state" if "state" in query else "wait")


@pytest.mark.parametrize("identifier", ["nonsense", "%00", "%FF", "%F0%9F%94%AD", "$where", "a" * 3000, "..%2F..%2Fme"])
async def test_an_id_of_nonsense_is_not_found(api: Api, identifier: str) -> None:
    for path in (f"/v1/jobs/{identifier}", f"/v1/uploads/{identifier}", f"/v1/backends/{identifier}"):
        problem(await api.ada.get(path), 404)


@pytest.mark.parametrize("query", ["attempt=0", "attempt=one", "series=-1", "series=99999999999999999999"])
async def test_a_bad_attempt_is_named(api: Api, query: str) -> None:
    job = await api.submit()
    problem(await api.ada.get(f"/v1/jobs/{job['id']}/log?{query}"), 422, query.partition("=")[0])


@pytest.mark.parametrize("query", ["status=lost", "limit=0", "cursor=short", "cursor=%00", "state=lost"])
async def test_a_bad_filter_of_notices_is_named(api: Api, query: str) -> None:
    operator = api.client("olga@example.org", "operator")
    problem(await operator.get(f"/v1/notices?{query}"), 422, query.partition("=")[0])


async def test_a_misspelt_filter_of_backends_is_named(api: Api) -> None:
    problem(await api.ada.get("/v1/backends?name=sum"), 422, "name")


async def test_an_unknown_path_and_a_wrong_method_are_problems(api: Api) -> None:
    assert "/v1/nothing" in problem(await api.ada.get("/v1/nothing"), 404)["detail"]
    found = await api.ada.put("/v1/jobs", json=SUM)
    assert "PUT" in problem(found, 405)["detail"]
    assert "GET" in found.headers["allow"] or "POST" in found.headers["allow"]


async def test_bad_submissions_do_not_harm_their_neighbours(api: Api) -> None:
    """Concurrent submissions travel to the database together; each has its own outcome."""
    bad: list[Any] = [
        {"parameters": {"left": "x"}}, {"name": "\x00"}, {"backend": "nobody"}, {"parameters": {"left": 2**70}},
        {"not_before": "0001-01-01T00:00:00+14:00"},
    ]  # fmt: skip
    carol = api.client("carol@example.org")
    reused = {"Idempotency-Key": "reused"}
    assert (await carol.post("/v1/jobs", json=SUM, headers=reused)).status_code == httpx.codes.CREATED

    async def submit(number: int) -> tuple[int, int]:
        if number % 3 == 0:
            return (await carol.post("/v1/jobs", json=SUM | bad[number % len(bad)])).status_code, 422
        if number % 3 == 1:  # found out by the database itself, within the batch
            changed = SUM | {"name": f"number {number}"}
            return (await carol.post("/v1/jobs", json=changed, headers=reused)).status_code, 422
        return (await carol.post("/v1/jobs", json=SUM | {"name": f"number {number}"})).status_code, 201

    outcomes = await asyncio.gather(*(submit(number) for number in range(150)))
    assert all(got == wanted for got, wanted in outcomes)
    assert await api.stored(owner="carol@example.org") == 1 + 50


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("parameters", "name", "group", "priority", "not_before", "start_before", "timeout_seconds", "max_attempts",
          "handler", "notify", "backend")  # fmt: skip
BODIES = st.builds(
    lambda base, changes: base | changes,
    st.sampled_from([SUM, {}, {"backend": "secret"}, {"backend": "read", "parameters": {"table": "x", "more": ["y"]}}]),
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), JSON, max_size=4),
)


@given(body=JSON | BODIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_whatever_is_submitted_is_stored_or_refused(api: Api, body: Any) -> None:
    before = await api.stored()
    answer = await api.ada.post("/v1/jobs", content=json.dumps(body).encode())
    if answer.status_code == httpx.codes.CREATED:
        assert await api.stored() == before + 1
        job = answer.json()
        assert (await api.ada.get(f"/v1/jobs/{job['id']}")).json()["parameters"] == body.get("parameters", {})
    else:
        problem(answer, answer.status_code)
        assert answer.status_code in {400, 422}
        assert await api.stored() == before


@given(content=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
async def test_whatever_bytes_come_are_no_defect(api: Api, content: bytes) -> None:
    answer = await api.ada.post("/v1/jobs", content=content)
    problem(answer, answer.status_code)
    assert answer.status_code in {400, 422}
