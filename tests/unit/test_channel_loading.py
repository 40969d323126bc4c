"""Channels that others add: found by their entry points, and none takes the others down."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from heliograph.channels import Channel, ChannelContext, Notice
from heliograph.notices.model import Delivery
from heliograph_notifier.channels import loading
from heliograph_notifier.channels.loading import in_service, open_channels
from tests.parts.waiting import until

MODULE = """
from heliograph.channels import Channel

class Pigeons(Channel):
    name = "pigeons"

    def __init__(self, origin):
        self.origin = origin

    async def send(self, notice, delivery):
        return "it flies"

def first(context):
    return Pigeons(context.options["loft"])

def second(context):
    return Pigeons("second")

def unconfigured(context):
    return None

class Nameless(Channel):
    async def send(self, notice, delivery):
        return "it flies"

def nameless(context):
    return Nameless()

def number(context):
    return 7

def raising(context):
    raise RuntimeError("no pigeons")
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution on the path that names these entry points."""

    def make(**points: str) -> None:
        (tmp_path / "pigeons_for_tests.py").write_text(MODULE)
        info = tmp_path / "pigeons-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
        lines = [f"{name} = pigeons_for_tests:{function}" for name, function in points.items()]
        (info / "entry_points.txt").write_text("[heliograph.channels]\n" + "\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "pigeons_for_tests", raising=False)

    return make


def context(name: str) -> ChannelContext:
    """One in which the channels that ship are not configured."""
    settings = type("Settings", (), {"__getattr__": lambda _self, _name: None})()
    nothing = cast(Any, None)
    return ChannelContext(settings, {"loft": name}, nothing, nothing, nothing, "a test")


def test_a_channel_is_found_and_gets_its_own_options(install: Install) -> None:
    install(pigeons="first")
    assert cast(Any, open_channels(context)["pigeons"]).origin == "pigeons"


@pytest.mark.parametrize("broken", ["raising", "missing", "nameless", "number"])
def test_a_broken_channel_is_left_out_and_logged(install: Install, broken: str) -> None:
    install(alpha=broken, pigeons="first")
    with structlog.testing.capture_logs() as logs:
        assert list(open_channels(context)) == ["pigeons"]
    (said,) = [entry for entry in logs if entry["event"] == "a channel cannot be opened"]
    assert (said["channel"], said["source"]) == ("alpha", f"pigeons_for_tests:{broken}")


def test_one_that_is_not_configured_is_not_there(install: Install) -> None:
    install(pigeons="unconfigured")
    assert open_channels(context) == {}


def test_of_two_with_the_same_name_the_first_has_it(install: Install) -> None:
    install(zeta="second", alpha="first")
    with structlog.testing.capture_logs() as logs:
        channels = open_channels(context)
    assert cast(Any, channels["pigeons"]).origin == "alpha"
    assert [entry["source"] for entry in logs] == ["pigeons_for_tests:second"]


class Stubborn(Channel):
    """Fails or hangs wherever it can."""

    name = "stubborn"

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.may_end = asyncio.Event()
        self.runs = 0

    async def send(self, notice: Notice, delivery: Delivery) -> str:
        raise AssertionError

    async def run(self) -> None:
        self.runs += 1
        if not self.hangs:
            raise RuntimeError("as asked")
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                continue

    async def close(self) -> None:
        if not self.hangs:
            raise RuntimeError("as asked")
        await self.may_end.wait()


@pytest.mark.parametrize("hangs", [True, False])
async def test_one_that_hangs_or_fails_keeps_no_notifier_from_its_end(
    monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    monkeypatch.setattr(loading, "END_SECONDS", 0.05)
    monkeypatch.setattr(loading, "PAUSE_SECONDS", 0.01)
    channel = Stubborn(hangs=hangs)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(5), in_service(channel):
            await until(lambda: channel.runs >= (1 if hangs else 3))
    said = {entry["event"] for entry in logs}
    assert "a channel could not be closed" in said
    assert ("a channel does not end what it does" in said) is hangs
    channel.may_end.set()
    await asyncio.sleep(0)
