"""The Matrix channel where Matrix is not configured: it is not there, and costs nothing."""

import subprocess
import sys
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any

import pytest

from heliograph_notifier.channels.matrix.channel import MatrixChannel

SETTINGS = {"matrix_homeserver": "https://hs.test", "matrix_user": "@bot:hs.test", "matrix_password": "secret"}


def test_the_channel_is_found_as_every_other() -> None:
    (point,) = entry_points(group="heliograph.channels", name="matrix")
    assert point.load() == MatrixChannel.of


@pytest.mark.parametrize("missing", SETTINGS)
def test_without_an_account_there_is_no_channel(missing: str) -> None:
    settings = SimpleNamespace(**{**SETTINGS, "matrix_access_token": None, missing: None})
    context: Any = SimpleNamespace(settings=settings, database=None)
    assert MatrixChannel.of(context) is None


def test_large_libraries_are_not_loaded_for_those_who_do_not_use_them() -> None:
    look = (
        "import sys; import heliograph_notifier.app, heliograph_notifier.channels.matrix.channel; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout.split()
    assert {"heliograph_notifier.channels.matrix.live", "heliograph_notifier.contacts.opening"} <= set(loaded)
    assert not {"nio", "sqlalchemy"} & set(loaded)
