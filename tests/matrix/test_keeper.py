"""The account's document: who has it, and what is kept."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from heliograph.storage import Database
from heliograph_notifier.channels.matrix.keeper import (
    ACCOUNTS,
    Keeper,
    KeysTooLargeError,
    Session,
    Tenure,
    TenureOverError,
)
from heliograph_notifier.channels.matrix.store import MOST_ROOM_KEYS, KeyStore
from tests.parts.matrix import SEAL_KEY
from tests.parts.waiting import until

BOT = "@bot:hs.test"
SHORT = timedelta(milliseconds=200)
KeeperOf = Callable[..., Keeper]


@pytest.fixture
def keeper_of(database: Database) -> KeeperOf:
    def make(holder: str, lease: timedelta = timedelta(seconds=30), *keys: str) -> Keeper:
        return Keeper(database, BOT, holder, keys or (SEAL_KEY,), lease=lease)

    return make


async def taken(keeper: Keeper) -> Tenure:
    """Take the account as soon as it is free."""
    async with asyncio.timeout(60):
        while (tenure := await keeper.take()) is None:  # noqa: ASYNC110 - the server's clock tells nobody
            await asyncio.sleep(0.01)
    return tenure


async def test_of_many_that_want_it_one_has_it(keeper_of: KeeperOf) -> None:
    tenures = await asyncio.gather(*(keeper_of(f"notifier-{number}").take() for number in range(8)))
    assert len([tenure for tenure in tenures if tenure]) == 1


async def test_it_is_renewed_or_lost(keeper_of: KeeperOf) -> None:
    second = keeper_of("two")
    tenure = await taken(keeper_of("one"))
    await tenure.renew()
    assert tenure.is_held
    assert await second.take() is None
    await tenure.release()
    tenure = await taken(keeper_of("one", SHORT))
    await until(lambda: not tenure.is_held)
    later = await taken(second)
    with pytest.raises(TenureOverError):
        await tenure.renew()
    await later.renew()


async def test_given_back_it_is_free_at_once(keeper_of: KeeperOf) -> None:
    tenure = await taken(keeper_of("one"))
    await tenure.release()
    assert not tenure.is_held
    assert await keeper_of("two").take()


async def test_a_process_that_takes_it_anew_is_another_owner_than_before(keeper_of: KeeperOf) -> None:
    before = await taken(keeper_of("one", SHORT))
    await until(lambda: not before.is_held)
    now = await taken(keeper_of("one"))
    with pytest.raises(TenureOverError):
        await before.keep(since="s1")
    await now.keep(since="s2")


async def test_what_is_kept_comes_back_each_part_by_itself(keeper_of: KeeperOf) -> None:
    tenure = await taken(keeper_of("one"))
    await tenure.keep(device="D1", session=Session("D1", "token"), keys=b"keys" * 1000)
    await tenure.keep(since="s1")
    await tenure.keep(keys=b"newer keys")
    await tenure.release()
    kept = (await taken(keeper_of("two"))).kept
    assert (kept.device, kept.session, kept.keys, kept.since) == ("D1", Session("D1", "token"), b"newer keys", "s1")


async def test_with_other_keys_no_secret_comes_back(keeper_of: KeeperOf) -> None:
    tenure = await taken(keeper_of("one"))
    await tenure.keep(device="D1", session=Session("D1", "token"), keys=b"keys", since="s1")
    await tenure.release()
    kept = (await taken(keeper_of("two", timedelta(seconds=30), "f" * 32))).kept
    assert (kept.device, kept.session, kept.keys, kept.since) == (None, None, None, "s1")


async def test_keys_that_do_not_fit_are_refused_and_the_last_ones_stay(keeper_of: KeeperOf, database: Database) -> None:
    tenure = await taken(keeper_of("one"))
    await tenure.keep(session=Session("D1", "token"), keys=b"keys")
    with pytest.raises(KeysTooLargeError, match="at most"):
        await tenure.keep(keys=os.urandom(13_000_000))
    await tenure.release()
    assert (await taken(keeper_of("two"))).kept.keys == b"keys"
    assert await database.collection(ACCOUNTS).count_documents({}) == 1


def test_keys_go_through_bytes_and_the_oldest_room_keys_are_forgotten() -> None:
    store = KeyStore(BOT, "D1", None)
    connection = store.database.connection()
    connection.execute(
        "INSERT INTO accounts (id, account, device_id, shared, user_id) VALUES (1, x'00', 'D1', 1, ?)", (BOT,)
    )
    connection.executemany(
        "INSERT INTO megolminboundsessions (sender_key, account_id, fp_key, room_id, session, session_id)"
        " VALUES ('key', 1, 'key', '!room', x'00', ?)",
        [(f"{number:06}",) for number in range(MOST_ROOM_KEYS + 5)],
    )
    content = store.serialize()
    store.close()
    restored = KeyStore(BOT, "D1", content)
    assert restored.changes == 0
    restored.prune()
    oldest = "SELECT count(*), min(session_id) FROM megolminboundsessions"
    assert restored.database.connection().execute(oldest).fetchone() == (MOST_ROOM_KEYS, "000005")
    restored.close()
