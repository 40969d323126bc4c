"""Logging, as a process of its own does it: one object a line, and no more than was asked for."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, sys, structlog
from heliograph.logs import configure_logging
configure_logging({level!r}, readable={readable})
log = structlog.get_logger("here")
log.debug("a detail")
log.info("job done", job="01\\nM8", odd="\\ud800", number=float("nan"), thing=object)
logging.getLogger("pymongo.topology").warning("a server is away")
logging.getLogger("aio_pika").error("a broker is away")
logging.getLogger("other").warning("theirs")
logging.getLogger("other").info("their detail")
try:
    password = "swordfish"
    raise RuntimeError("broken")
except RuntimeError as error:
    log.error("defect", exc_info=error)
"""


def lines(level: str = "info", *, readable: bool = False) -> list[str]:
    program = PROGRAM.format(level=level, readable=readable)
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def parsed(found: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found if line.startswith("{")]


def test_each_event_is_one_object_on_one_line() -> None:
    done, defect = parsed(lines())
    assert done["event"] == "job done"
    assert (done["level"], done["job"]) == ("info", "01\nM8")
    assert done["timestamp"].endswith("Z")
    assert defect["event"] == "defect"
    assert "RuntimeError: broken" in defect["exception"]


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_what_is_below_the_level_is_left_out(level: str, count: int) -> None:
    assert len(parsed(lines(level))) == count


def test_libraries_are_heard_from_warnings_upwards_but_not_those_that_we_speak_for() -> None:
    assert [line for line in lines() if not line.startswith("{")] == ["WARNING other theirs"]


def test_on_a_terminal_it_reads_as_text() -> None:
    text = "\n".join(lines(readable=True))
    assert "job done" in text
    assert "RuntimeError: broken" in text
    assert not parsed(text.splitlines())


@pytest.mark.parametrize("readable", [True, False])
def test_a_traceback_does_not_show_the_values_of_variables(readable: bool) -> None:
    told = [line for line in lines(readable=readable) if "swordfish" in line and 'password = "swordfish"' not in line]
    assert told == []
