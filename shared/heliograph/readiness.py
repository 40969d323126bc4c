"""Whether a service can do its work, and what is away."""

from collections.abc import Mapping
from typing import Any

from heliograph.bus.port import Bus
from heliograph.storage import Database


def readiness(database: Database, bus: Bus) -> tuple[bool, Mapping[str, Any]]:
    """Return whether the service can work, and the state of its parts.

    Without MongoDB it cannot. Without the broker it is ``degraded``: jobs are taken, run and told of all the same.
    """
    here, connected = database.is_connected, bus.is_connected
    status = "ok" if here and connected else "degraded" if here else "unavailable"
    return here, {"status": status, "mongodb": here, "bus": connected}
