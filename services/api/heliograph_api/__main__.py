"""``python -m heliograph_api``: serves until SIGTERM or SIGINT."""

import contextlib
import signal
import sys

from heliograph import faults
from heliograph.background import exit_code
from heliograph.logs import configure_logging
from heliograph.serving import spare_the_collector
from heliograph.variables import warn_of_unknown
from heliograph_api.app import create_app
from heliograph_api.server import Server, config
from heliograph_api.settings import ApiSettings

STARTUP_FAILURE = 3  # as uvicorn itself ends


def main() -> None:
    """Run the api."""
    settings = ApiSettings.load()
    configure_logging(settings.log_level)
    warn_of_unknown()
    faults.arm(settings.fault_point)
    # After a clean shutdown uvicorn raises the signal once more: to a supervisor this end is one as asked for.
    signal.signal(signal.SIGTERM, _end)
    app = create_app(settings)
    spare_the_collector()
    server = Server(app, config(app, settings))
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _end(*_: object) -> None:
    sys.exit(exit_code())


if __name__ == "__main__":
    main()
