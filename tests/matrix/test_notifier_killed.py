"""Notifiers that die with the Matrix account in their hands: each room hears of it once, from the same device."""

from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from heliograph.faults import Point
from tests.parts.matrix import SEAL_KEY, Person
from tests.parts.matrix_channel import shown
from tests.parts.notifier import until
from tests.parts.services import BRIEF_SECONDS, Service, Stage, open_stage
from tests.parts.synapse import Synapse, User

pytestmark = pytest.mark.faults


@pytest.fixture
async def stage(tmp_path: Path, mongodb_url: str, database_name: str, rabbitmq_url: str) -> AsyncIterator[Stage]:
    """Services that are still to be started."""
    async with open_stage(tmp_path, mongodb_url, database_name, rabbitmq_url) as opened:
        yield opened


def with_matrix(stage: Stage, name: str, homeserver: Synapse, bot: User) -> Service:
    """Return a notifier that may have the account."""
    return stage.another_notifier(
        name, matrix_homeserver=homeserver.url, matrix_user=bot.id, matrix_password=bot.password, seal_keys=SEAL_KEY,
        matrix_lease_seconds=2,
    )  # fmt: skip


async def start(*services: Service) -> None:
    """Start several at a time."""
    for service in services:
        service.launch()
    for service in services:
        await service.until_ready()


def devices(homeserver: Synapse, bot: User) -> list[str]:
    """Return the devices of the account that have keys."""
    body: dict[str, Any] = {"device_keys": {bot.id: []}}
    answer = homeserver.request("POST", "/_matrix/client/v3/keys/query", body, bot.token)
    return list(answer.json()["device_keys"].get(bot.id, {}))


@pytest.mark.parametrize("point", [Point.PLANNED_NOT_SENT, Point.SENDING_NOT_SENT, Point.SENT_NOT_RECORDED])
async def test_killed_at_any_step_a_room_is_told_once(
    stage: Stage, homeserver: Synapse, bot: User, alice: Person, point: Point
) -> None:
    room = await alice.create_room(bot.id, is_encrypted=True)
    stage.claims |= {"mxroomid": room, "mxintsub": 0, "tmx": 0, "mssub": False, "msdone": False}
    notifier = with_matrix(stage, "first", homeserver, bot)
    await start(stage.api, stage.worker, notifier)
    await alice.wait_for_member(room, bot.id)
    await notifier.stop()
    await notifier.start(fault_point=point, send_lease_seconds=BRIEF_SECONDS)
    job = await stage.submit()
    assert await notifier.ended() == -SIGKILL
    await stage.over(job)

    await notifier.start()
    await stage.settled()
    await alice.sync()
    (message,) = shown(alice, bot.id)
    assert len(message.thread) == 1, message.thread
    assert len(devices(homeserver, bot)) == 1


async def test_another_host_takes_the_account_over_with_its_device(
    stage: Stage, homeserver: Synapse, bot: User, alice: Person
) -> None:
    room = await alice.create_room(bot.id, is_encrypted=True)
    stage.claims |= {"mxroomid": room, "mxintsub": 0, "tmx": 0}
    first, second = (with_matrix(stage, name, homeserver, bot) for name in ("first", "second"))
    await start(stage.api, stage.worker, first)
    await alice.wait_for_member(room, bot.id)
    await second.start()
    before = await stage.submit()
    await stage.over(before)
    await stage.settled()
    before_devices = devices(homeserver, bot)

    await first.kill()
    after = await stage.submit()
    await stage.over(after)
    await stage.settled()
    await until(lambda: _sees(alice, bot, 2))
    assert [len(message.thread) for message in shown(alice, bot.id)] == [1, 1]
    assert devices(homeserver, bot) == before_devices
    assert stage.letters() == {(what, job.lower()): 1 for job in (before, after) for what in ("submitted", "done")}


async def _sees(alice: Person, bot: User, count: int) -> bool:
    await alice.sync()
    return len(shown(alice, bot.id)) == count
