"""``python -m heliograph_notifier``: the notifier as a process of its own."""

import uvloop

from heliograph import faults
from heliograph.logs import configure_logging
from heliograph_notifier.app import run
from heliograph_notifier.settings import NotifierSettings


def main() -> None:
    """Read the settings and run until told to stop."""
    settings = NotifierSettings.load()
    configure_logging(settings.log_level)
    faults.arm(settings.fault_point)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
