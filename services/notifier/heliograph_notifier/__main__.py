"""``python -m heliograph_notifier``: plans and sends notices until SIGTERM or SIGINT."""

from heliograph import faults
from heliograph.logs import configure_logging
from heliograph.serving import serve
from heliograph.variables import warn_of_unknown
from heliograph_notifier.app import Notifier
from heliograph_notifier.settings import NotifierSettings


def main() -> None:
    """Run a notifier."""
    settings = NotifierSettings.load()
    configure_logging(settings.log_level)
    warn_of_unknown()
    faults.arm(settings.fault_point)
    serve(Notifier(settings))


if __name__ == "__main__":
    main()
