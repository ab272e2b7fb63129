"""structlog for every process: JSON lines, with context, unless standard error is a terminal."""

import logging
import sys
from typing import Literal

import structlog


def configure(
    log_format: Literal["auto", "json", "console"] = "auto", level: int = logging.INFO
) -> None:
    """Send structlog and the standard library's logging through one handler on standard error."""
    pretty = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    last = [] if pretty else [structlog.processors.format_exc_info]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *last,
                renderer,
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def adopt(*names: str) -> None:
    """Send these loggers' records through our handler instead of their own."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


def silence(*names: str) -> None:
    """Drop the records of these loggers: another logger reports the same, better."""
    for name in names:
        logging.getLogger(name).disabled = True
