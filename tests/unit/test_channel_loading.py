"""Channels that others add: found by their entry points, and none takes the others down."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from heliograph.channels import ChannelContext
from heliograph_notifier.channels.loading import open_channels

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


@pytest.mark.parametrize("broken", ["raising", "missing"])
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
