"""The command line against a running api: what people read, and how a script learns that something went wrong."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import Secret, SecretStr

from heliograph.client import Client, NotSecretError
from heliograph.identity.tokens import Tokens
from heliograph.ids import short_id
from heliograph.masking import MASK
from heliograph.notices.notify import Notify
from tests.backends_for_tests import secretive
from tests.parts.api import ADA, KEY, Api, open_api
from tests.parts.waiting import until

SEAL_KEY = "3f1d9c0b7a5e48261122334455667788"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(mongodb_url: str) -> AsyncIterator[Api]:
    async with open_api(mongodb_url, seal_keys=(SEAL_KEY,)) as opened:
        yield opened


async def run(api: Api, *words: str, code: int = 0, given: str | None = None, **environment: str) -> str:
    """Run ``heliograph`` with a width of 80 columns, check how it ends, and return what it printed.

    It has no terminal: what it reads is ``given``.
    """
    token = api.ada.headers["authorization"].removeprefix("Bearer ")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", "from heliograph.client.cli import main; main()", *words,
        env=os.environ | {"HELIOGRAPH_URL": api.url, "HELIOGRAPH_TOKEN": token, "COLUMNS": "80"} | environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    output = (await process.communicate(given.encode() if given else None))[0].decode()
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output


async def test_a_job_is_submitted_and_waited_for(api: Api, tmp_path: Path) -> None:
    async with api.worker(tmp_path, "good:add"):
        output = await run(api, "submit", "sum", '{"left": 2, "right": 3}', "--name", "[red]a :x: sum[/red]", "--wait")
    assert "[red]a :x: sum[/red]" in output
    assert "100 %" in output
    assert '"total": 5' in output


async def test_a_secret_comes_from_a_file_or_is_asked_for_and_stands_in_no_argument(api: Api, tmp_path: Path) -> None:
    await api.announce(secretive.SOURCES)
    await api.app.state.parts.registry.refresh()
    (tmp_path / "password").write_text("correct-horse-battery\n")
    file = f"main.password=@{tmp_path}/password"
    words = ("submit", "vault", '{"note": "by hand"}', "--secret", file)
    async with api.worker(tmp_path, "secretive:vault"):
        output = await run(api, *words, "--wait")
    assert "21" in output
    (job,) = (await api.ada.get("/v1/jobs", params={"backend": "vault"})).json()["items"]
    assert job["parameters"] == {"note": "by hand", "main": {"password": MASK}}
    assert job["result"] == [21, []]
    assert "the history of a shell keeps" in await run(api, *words[:3], "--secret", "main.password=correct", code=2)
    assert "is given twice" in await run(api, *words, "--secret", file, code=2)
    assert "cannot be read" in await run(api, *words[:3], "--secret", "main.password=@/no/such", code=2)
    assert "is no object" in await run(api, *words[:3], "--secret", "note.password=@/no/such", code=2)
    listed = (await run(api, "backends", "vault")).splitlines()
    kinds = {line.split("  ")[0]: line for line in listed}
    assert "string, secret" in kinds["main.password"]
    assert "secret" not in kinds["main.user"]
    assert "--secret NAME" in listed[-1]
    many = [each["id"] for each in (await api.ada.get("/v1/jobs", params={"backend": "vault"})).json()["items"]]
    assert many == [job["id"]]


async def test_what_is_not_secret_is_not_sent_as_a_secret(api: Api, tmp_path: Path) -> None:
    await api.announce(secretive.SOURCES)
    await api.app.state.parts.registry.refresh()
    (tmp_path / "password").write_text("correct-horse-battery")
    before = await api.stored()
    for name in ("note", "main.pasword", "main.user", "main", "more.0", "none"):
        output = " ".join(
            (await run(api, "submit", "vault", "--secret", f"{name}=@{tmp_path}/password", code=2)).split()
        )
        assert f"{name} is no secret parameter of vault" in output
        assert "main.password, pin" in output
    assert "there is none" in await run(api, "submit", "sum", "--secret", "left=@/no/such", code=2)
    assert "a pull queue takes no secrets" in await run(api, "submit", "--queue", "x", "--secret", "key", code=2)
    assert "no backend none" in await run(api, "submit", "none", "--secret", "password", code=1)
    assert await api.stored() == before


async def test_a_secret_comes_through_a_pipe_and_is_not_asked_for_in_sight(api: Api) -> None:
    await api.announce(secretive.SOURCES)
    await api.app.state.parts.registry.refresh()
    piped = "correct-horse-battery\n"
    words = ("submit", "vault", '{"note": "piped"}', "--secret")
    output = " ".join((await run(api, *words, "main.password", code=2, given=piped)).replace("│", " ").split())
    assert "there is no terminal to ask for main.password" in output
    output = await run(api, *words, "main.password=@-", given=piped)
    assert MASK in output
    assert "correct" not in output


async def test_a_secret_of_python_goes_only_where_it_stays_secret(api: Api) -> None:
    await api.announce(secretive.SOURCES)
    await api.app.state.parts.registry.refresh()
    before = await api.stored()
    password = SecretStr("correct-horse-battery")

    def work() -> Any:
        with Client(api.url, api.ada.headers["authorization"].removeprefix("Bearer ")) as client:
            for wrong in ({"main": {"user": password}}, {"note": password}, {"more": [password]}):
                with pytest.raises(NotSecretError, match="is no secret parameter of vault"):
                    client.submit("vault", {"main": {"password": password}} | wrong)
            with pytest.raises(NotSecretError):
                client.submit_to("vault", {"main": {"password": password}})
            more = [1, {"password": Secret("another one")}]
            return client.job(client.submit("vault", {"main": {"password": password}, "more": more}).id).parameters

    assert await asyncio.to_thread(work) == {"main": {"password": MASK}, "more": [1, {"password": MASK}]}
    assert await api.stored() == before + 1


async def test_a_list_is_of_a_queue_and_says_when_there_is_more(api: Api) -> None:
    mia = api.client("mia@example.org", "queue manager")
    (await mia.put("/v1/queues/dome", json={})).raise_for_status()
    jobs = [(await api.ada.post("/v1/jobs", json={"queue": "dome"})).json()["id"] for _ in range(3)]
    output = await run(api, "list", "--queue", "dome")
    assert all(job in output for job in jobs)
    assert "There are more" not in output
    output = await run(api, "list", "--queue", "dome", "--most", "2")
    assert [job in output for job in jobs] == [False, True, True]
    assert "There are more than these 2: --most 20" in output
    assert "no backend dome" in await run(api, "list", "--backend", "dome", code=1)
    assert "no queue domes" in await run(api, "list", "--queue", "domes", code=1)


async def test_a_job_that_fails_ends_the_command_with_1(api: Api, tmp_path: Path) -> None:
    async with api.worker(tmp_path, "good:complain"):
        output = await run(api, "submit", "complain", '{"kind": "usage"}', "--wait", code=1)
        assert "usage: there is no star of that name" in output
        (job,) = (await api.ada.get("/v1/jobs", params={"backend": "complain"})).json()["items"]
        await run(api, "wait", job["id"], code=1)


async def test_parameters_may_be_in_a_file(api: Api, tmp_path: Path) -> None:
    (tmp_path / "parameters.json").write_text('{"left": 7}')
    output = await run(api, "submit", "sum", f"@{tmp_path / 'parameters.json'}", "--group", "from a file")
    (job,) = (await api.ada.get("/v1/jobs", params={"group": "from a file"})).json()["items"]
    assert job["parameters"] == {"left": 7}
    assert job["id"] in output
    assert job["id"][-8:] in output


@pytest.mark.parametrize("parameters", ["{", "[]", "@/no/such/file", "7"])
async def test_parameters_of_nonsense_are_a_wrong_use(api: Api, parameters: str) -> None:
    before = await api.stored()
    assert "Error" in await run(api, "submit", "sum", parameters, code=2)
    assert await api.stored() == before


async def test_a_list_shows_every_id_whole(api: Api) -> None:
    job = await api.submit(name="a name that is far longer than a column of a narrow terminal has room for")
    line = next(line for line in (await run(api, "list", "--most", "3")).splitlines() if job["id"] in line)
    assert job["name"] in line
    assert "queued" in line
    assert job["created_at"][:10] in line


async def test_a_job_is_shown_cancelled_and_run_again(api: Api) -> None:
    job = (await api.submit())["id"]
    assert "queued" in await run(api, "show", job)
    assert "cancelled on request" in await run(api, "cancel", job)
    assert "cancelled already" in await run(api, "cancel", job, code=1)
    assert "queued" in await run(api, "retry", job)
    assert "occasion" in await run(api, "notices", job)
    assert await run(api, "log", job) == ""


async def test_a_job_is_named_by_the_end_of_its_id(api: Api) -> None:
    job = await api.submit()
    short = short_id(job["id"])
    assert job["id"] in await run(api, "show", short)
    assert "cancelled" in await run(api, "cancel", short)
    assert "queued" in await run(api, "retry", short)
    await run(api, "log", short)
    after = (await run(api, "submit", "sum", '{"left": 1}', "--after", short, "--quiet")).split()[0]
    assert (await api.ada.get(f"/v1/jobs/{after}")).json()["waits_for"] == [job["id"]]
    assert "whose id ends in 00000000" in await run(api, "show", "00000000", code=1)


@pytest.mark.parametrize(
    ("words", "told", "done"),
    [(["email.done=true", "email.threshold_seconds=0"], True, True), (["false"], False, None),
     (['{"email": {"done": false}}'], True, False)],
)  # fmt: skip
async def test_a_submission_states_what_its_submitter_wishes_to_be_told(
    api: Api, words: list[str], told: bool, done: bool | None
) -> None:
    options = [part for word in words for part in ("--notify", word)]
    identifier = (await run(api, "submit", "sum", '{"left": 1}', "--quiet", *options)).split()[0]
    stored = await api.jobs.find_one({"_id": identifier})
    assert stored
    notify = Notify.from_document(stored["notify"])
    assert notify.is_told is told
    assert [wish.done for wish in notify.asked] == ([] if done is None else [done])


async def test_files_go_up_and_come_down(api: Api, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("1,2\n")
    upload, hint = sorted(
        (await run(api, "upload", str(tmp_path / "table.csv"))).splitlines()
    )  # an id begins with a digit
    assert "a parameter that takes a file" in hint
    assert (await api.ada.get(f"/v1/uploads/{upload}")).json()["bytes"] == 4
    await run(api, "upload", str(tmp_path / "none.csv"), code=2)
    job = (await api.submit(backend="files", parameters={}))["id"]
    async with api.worker(tmp_path / "scratch", "good:files"):
        await run(api, "wait", job)
    await run(api, "download", job, str(tmp_path / "made"), "--folder", "twice", code=2)
    await run(api, "download", job, str(tmp_path / "placed"))
    assert (tmp_path / "placed" / "table.csv").exists()
    output = await run(api, "download", job, "--folder", str(tmp_path / "made"))
    assert {Path(line).name for line in output.split("\n") if line} == {"table.csv", "plot.png", "notes"}
    assert (tmp_path / "made" / "table.csv").read_text() == "1,2\n"


async def test_a_backend_is_shown_with_what_it_takes(api: Api) -> None:
    output = await run(api, "backends", "sum")
    assert "must be given" in next(line for line in output.splitlines() if line.startswith("left"))
    assert "there is no backend none" in await run(api, "backends", "none", code=1)


async def test_a_refusal_is_told_once_and_plainly(api: Api) -> None:
    output = await run(api, "submit", "sum", '{"left": "x"}', code=1)
    assert output == 'heliograph: parameters.left: "x" is not of type "integer"\n'
    many = await run(api, "submit", "sum", '{"left": 0, "right": "x"}', code=1)
    assert len(many.splitlines()) == 3
    assert "  parameters.right: " in many


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"HELIOGRAPH_URL": "nonsense"}, "nonsense is no address"),
        ({"HELIOGRAPH_TOKEN": "garbage"}, "the token is not valid; set HELIOGRAPH_TOKEN"),
        ({"HELIOGRAPH_TOKEN": ""}, "a token is needed"),
    ],
)
async def test_what_is_wrong_with_the_surroundings_is_one_line(
    api: Api, environment: dict[str, str], words: str
) -> None:
    output = await run(api, "backends", code=1, **environment)
    assert words in output
    assert len(output.splitlines()) == 1


async def test_another_server_is_recognised_as_such(api: Api) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert "does not answer as Heliograph does" in await run(api, "backends", code=1, HELIOGRAPH_URL=url)


async def test_a_token_is_minted_with_claims(api: Api) -> None:
    words = ("--role", "operator", "--claim", "tem=60", "--claim", "msdone=false", "--claim", "name=Ada")
    token = (await run(api, "token", ADA, "--key", f"{KEY},another", *words)).strip()
    caller = Tokens([KEY]).verify(token)
    assert (caller.subject, caller.name, set(caller.roles)) == (ADA, "Ada", {"operator", "user"})
    assert (caller.claims["tem"], caller.claims["msdone"]) == (60, False)
    assert (await run(api, "token", ADA, "--key", json.dumps([KEY]))).count(".") == 2
    assert "too short" in await run(api, "token", ADA, "--key", "short", code=2)


async def test_a_token_is_signed_with_the_key_that_is_kept_here(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HELIOGRAPH_SIGNING_KEYS", raising=False)
    assert "give --key" in await run(api, "token", ADA, code=2)
    (tmp_path / ".heliograph").mkdir()
    (tmp_path / ".heliograph" / "keys.json").write_text(json.dumps({"signing_key": KEY}))
    assert Tokens([KEY]).verify((await run(api, "token", ADA)).strip()).subject == ADA


async def test_quiet_prints_an_id_for_scripts_and_options_reach_the_job(api: Api) -> None:
    words = ("--timeout", "7.5", "--priority", "-3", "--not-before", "2990-01-31T20:00:00+01:00")
    lines = (await run(api, "submit", "sum", '{"left": 1}', "--quiet", *words)).splitlines()
    identifier = next(line for line in lines if "heliograph: " not in line)
    job = (await api.ada.get(f"/v1/jobs/{identifier}")).json()
    assert (job["timeout_seconds"], job["priority"]) == (7.5, -3)
    assert "2990-01-31 19:00:00 UTC" in await run(api, "show", identifier)
    assert "not_before" in await run(api, "submit", "sum", '{"left": 1}', "--not-before", "soon", code=1)


async def test_what_a_job_waits_for_and_belongs_to_is_shown(api: Api) -> None:
    first = await api.submit()
    job = await api.submit(group="a night of two", after=[first["id"]], parent=first["id"])
    lines = (await run(api, "show", job["id"])).splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert {"group a night of two", f"parent {first['id']}", f"waits for {first['id']}"} <= set(shown)


async def test_who_submits_is_warned_of_what_keeps_the_job_waiting(api: Api, tmp_path: Path) -> None:
    olga = api.client("olga@example.org", "operator")
    await olga.post("/v1/backends/sum/pause")
    try:
        output = await run(api, "submit", "sum", '{"left": 1}')
        assert "sum is paused: the job waits until it is resumed" in output
        assert "paused" in next(line for line in (await run(api, "backends")).splitlines() if line.startswith("sum "))
        assert "paused; limits: none" in await run(api, "backends", "sum")
    finally:
        await olga.post("/v1/backends/sum/resume")

    async def has_a_worker() -> bool:
        return bool((await api.ada.get("/v1/backends/sum")).json()["workers"])

    async with api.worker(tmp_path, "good:add"):
        await until(has_a_worker)  # the api learns of workers within 2 s, or so
        assert "heliograph: " not in await run(api, "submit", "sum", '{"left": 1}')


async def test_a_backend_is_limited(api: Api) -> None:
    token = api.client("olga@example.org", "operator").headers["authorization"].removeprefix("Bearer ")
    for words, said in (
        (("--total", "4", "--per-owner", "1"), "sum is open; limits: 4 in all, 1 of one owner\n"),
        (("--total", "2"), "sum is open; limits: 2 in all\n"),
        ((), "sum is open; limits: 2 in all\n"),
        (("--none",), "sum is open; limits: none\n"),
        (("--stated",), "sum is open; limits: none\n"),
    ):
        assert await run(api, "limit", "sum", *words, HELIOGRAPH_TOKEN=token) == said
    await run(api, "limit", "sum", "--total", "2", "--none", code=2, HELIOGRAPH_TOKEN=token)


async def test_a_name_that_nobody_has_is_answered_with_what_was_meant(api: Api) -> None:
    assert "no backend summ; did you mean" not in await run(api, "submit", "zzz", code=1)
    output = await run(api, "submit", "summ", code=1)
    assert output == "heliograph: backend: no worker has announced a backend summ; did you mean sum?\n"
    assert "sum is a backend: submit with `backend`" in await run(api, "submit", "--queue", "sum", code=1)
    assert "a backend or a queue" in " ".join((await run(api, "submit", "sum", "{}", "--queue", "x", code=2)).split())
    assert "with --queue" in await run(api, "submit", code=2)


async def test_the_topology_is_printed(api: Api) -> None:
    assert "heliograph.events" in await run(api, "topology")


async def test_a_group_is_shown_with_what_failed_in_it(api: Api) -> None:
    first, other = await api.submit(group="a night", name="first"), await api.submit()
    output = await run(api, "submit", "sum", '{"left": 1}', "--group", "a night", "--after", other["id"])
    assert "queued" in output
    await api.jobs.update_one(
        {"_id": first["id"]},
        {"$set": {"state": "failed", "error": {"kind": "fatal", "message": "the [red] star is gone"}}},
    )  # fmt: skip
    output = await run(api, "group", "a night")
    assert "1 queued, 1 failed" in output
    assert "50% of 2" in output
    assert first["id"] in output
    assert "the [red] star is gone" in output
    assert "no job of the group none" in await run(api, "group", "none", code=1)
