"""``python -m heliograph_worker``: works until SIGTERM or SIGINT, then lets running jobs end for a while."""

from heliograph import faults
from heliograph.logs import configure_logging
from heliograph.serving import serve
from heliograph_worker.app import Worker
from heliograph_worker.settings import WorkerSettings


def main() -> None:
    """Run a worker."""
    settings = WorkerSettings.load()
    configure_logging(settings.log_level)
    faults.arm(settings.fault_point)
    serve(Worker(settings))


if __name__ == "__main__":
    main()
