"""How the service writes its log: as lines for people or as JSON, and never in anybody's way."""

import logging
import sys
from typing import TextIO, cast

import structlog

from service.log_stream import LogStream


def configure_logging(
    *, level: str, style: str, process: int | None = None, stream: TextIO | None = None
) -> None:
    """Logs to `stream`, by default stdout, as `style` "console" or "json"; those of libraries from
    warning up.

    `process`: which of several writes them, in every line. A log that cannot be written loses lines
    and stops nobody (service/log_stream.py). stderr stays free for the one sentence with which a
    start may fail.
    """
    stream = stream or cast(TextIO, LogStream(sys.stdout.fileno()))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if process is not None:
        shared.append(lambda _, __, event: {**event, "process": process})
    as_json = style == "json"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    render = [structlog.processors.format_exc_info, renderer] if as_json else [renderer]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
