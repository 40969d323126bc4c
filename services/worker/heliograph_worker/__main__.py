"""``python -m heliograph_worker``: works until SIGTERM or SIGINT, then lets running jobs end for a while."""

import sys

from heliograph import faults
from heliograph.logs import configure_logging
from heliograph.serving import serve
from heliograph.variables import warn_of_unknown
from heliograph_worker.app import Worker
from heliograph_worker.backends.declared import BackendsFileError
from heliograph_worker.scratch import ScratchError
from heliograph_worker.settings import WorkerSettings
from heliograph_worker.undumpable import forbid_looking_inside


def main() -> None:
    """Run a worker."""
    forbid_looking_inside()
    settings = WorkerSettings.load()
    configure_logging(settings.log_level)
    warn_of_unknown()
    faults.arm(settings.fault_point)
    try:
        serve(Worker(settings))
    except (ScratchError, BackendsFileError) as error:
        sys.exit(f"heliograph cannot start:\n  {error}")


if __name__ == "__main__":
    main()
