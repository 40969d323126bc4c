"""Logging: one JSON object a line on standard error, or readable lines on a terminal."""

import logging
import sys

import structlog


def configure_logging(level: str = "info", *, readable: bool | None = None) -> None:
    """Set up logging for the process; ``readable`` defaults to "standard error is a terminal"."""
    readable = sys.stderr.isatty() if readable is None else readable
    # Tracebacks without the values of variables: those may be tokens and passwords.
    renderers: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The libraries' own records are of interest from warnings upwards; our words on a broker, a database or a
    # homeserver that is away replace theirs.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    for noisy in ("aio_pika", "aiormq", "pymongo", "nio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
