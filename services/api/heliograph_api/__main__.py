"""``python -m heliograph_api``: serves until SIGTERM or SIGINT."""

import contextlib
import signal
import sys

import uvicorn

from heliograph import faults
from heliograph.logs import configure_logging
from heliograph_api.app import create_app
from heliograph_api.server import Server
from heliograph_api.settings import ApiSettings

KEEP_ALIVE_SECONDS = 30
GRACE_SECONDS = 10
STARTUP_FAILURE = 3  # as uvicorn itself ends


def main() -> None:
    """Run the api."""
    settings = ApiSettings.load()
    configure_logging(settings.log_level)
    faults.arm(settings.fault_point)
    # After a clean shutdown uvicorn raises the signal once more: to a supervisor this end is one as asked for.
    signal.signal(signal.SIGTERM, _end)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,  # a query string may hold a token; the metrics count requests by route
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )
    server = Server(app, config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _end(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
