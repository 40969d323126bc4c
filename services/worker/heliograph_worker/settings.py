"""The worker's settings."""

import os
import socket
import tempfile
from pathlib import Path

from pydantic import Field

from heliograph.jobs.store.claims import LEASE
from heliograph.keys import OptionalKey
from heliograph.settings import LinkSettings, SealSettings


class WorkerSettings(LinkSettings, SealSettings):
    """What a worker needs to know."""

    worker_name: str = Field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}", description="What this worker is called"
    )
    slots: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2), ge=1, le=1000, description="How many jobs run at a time"
    )
    scratch: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()) / f"heliograph-scratch-{os.getuid()}",
        description="Where jobs get their working folders",
    )
    memory_limit_bytes: int | None = Field(
        default=None, ge=64 * 1024 * 1024, description="Most memory of a job's process"
    )
    lease_seconds: float = Field(
        default=LEASE.total_seconds(),
        ge=3,
        le=86_400,
        description="After this, a job whose worker fell silent is run again; longer for hosts that stall",
    )
    grace_seconds: float = Field(default=10, ge=0, description="How long a job that is to stop may clean up")
    drain_seconds: float = Field(default=20, ge=0, description="How long running jobs may go on when the worker stops")
    backends_file: Path | None = Field(
        default=None, description="A TOML file that declares backends: commands, functions, web services"
    )
    identity_key: OptionalKey = Field(
        default=None,
        description="the api's key of the hash that tells equal requests; without it, jobs cannot submit jobs here",
        repr=False,
    )
    retention_days: float = Field(
        default=0, ge=0, description="Days that jobs which jobs here submitted are kept; 0 keeps them for ever"
    )
    keep_variables: str = Field(default="", description="Names of variables that jobs see, separated by commas")
    metrics_host: str = Field(default="0.0.0.0", description="The address of health and metrics")  # noqa: S104 - a container's own
    metrics_port: int | None = Field(
        default=8001, ge=0, le=65535, description="The port of health and metrics; none serves neither"
    )
