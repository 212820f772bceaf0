"""Logging with structlog, for a console or as JSON lines."""

import logging
import re
import select
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

import structlog
from pydantic_core import to_json

from troth.world.origin import chain, log_fields


class LogFormat(StrEnum):
    """Format of log lines."""

    CONSOLE = "console"
    JSON = "json"


LONGEST = 256
"""Maximum number of characters of a client's text in a log line, before it is escaped."""


def escaped(text: str) -> str:
    """Return a client's text as it may be logged: its beginning, in printable ASCII.

    All other characters are escaped as in Python, so that no text is a line of its own or moves a
    terminal's cursor. A text that is cut ends in three dots.
    """
    plain = text[:LONGEST].encode("unicode_escape").decode("ascii")
    return plain if len(text) <= LONGEST else f"{plain}..."


_CALL = re.compile(r"\(.*", re.DOTALL)
_COROUTINE = re.compile(
    r"^(?:future|task): <Task \w+ name='[^']*' coro=<([\w.<>]+)\(", re.MULTILINE
)


def _without_texts(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:  # noqa: ANN401
    """Replace an event's exception with its type and place: its text may quote a Secret.

    Libraries quote that text in their messages too, and asyncio the arguments of callbacks.
    """
    info = event.pop("exc_info", None)
    record = event.get("_record")
    if record is not None and record.name == "asyncio":
        event.update(_without_values(event["event"]))
    if not info:
        return event
    error = (
        info if isinstance(info, BaseException) else (sys.exc_info() if info is True else info)[1]
    )
    if error is None:
        return event
    if record is not None:
        for each in chain(error):
            for text in filter(None, (repr(each), str(each))):
                event["event"] = event["event"].replace(text, type(each).__name__)
    return {
        **event,
        **{name: each for name, each in log_fields(error).items() if name not in event},
    }


def _without_values(message: str) -> dict[str, str]:
    """Return a message of asyncio without the values that follow it, and the coroutine it names."""
    coroutine = _COROUTINE.search(message)
    plain = _CALL.sub("", message.partition("\n")[0])
    return {"event": plain} | ({"coroutine": coroutine[1]} if coroutine else {})


def _whole_line(_: Any, level: str, event: structlog.types.EventDict) -> str:  # noqa: ANN401
    """Return an event as JSON in one step, which is faster than a chain of processors."""
    event["level"], event["timestamp"] = level, _moment()
    if "exc_info" in event:
        event = _without_texts(_, level, event)
    return _json(event)


def _moment() -> str:
    """Return the current time in ISO 8601; each second is formatted only once."""
    second, fraction = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(second)}.{fraction:06d}Z"


@lru_cache(maxsize=2)
def _second(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json(event: Any, **_: Any) -> str:  # noqa: ANN401 - structlog's protocol
    """Return an event as JSON; pydantic's encoder takes a third of the time of Python's."""
    return to_json(event, fallback=repr).decode()


class RequestLog:
    """Log of one event that each request has. Lines in JSON bypass structlog's steps between.

    Those steps cost three times as much as the line itself. The lines are the same either way.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._log = structlog.get_logger().bind()

    def write(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write a line at level info for each entry, in as few steps as keep each line whole."""
        settings = structlog.get_config()
        if settings["processors"] != [_whole_line]:
            for entry in entries:
                self._log.info(self._event, **entry)
        elif self._log.is_enabled_for(logging.INFO):
            lines = [_whole_line(None, "info", {**each, "event": self._event}) for each in entries]
            log = settings["logger_factory"]()
            for part in _parts(lines):
                log.msg(part)


def _parts(lines: Iterable[str]) -> Iterator[str]:
    """Yield whole lines in parts that a pipe takes as one, so that processes can share the pipe."""
    part: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode()) + 1  # with the end of the line
        if part and size + length > select.PIPE_BUF:
            yield "\n".join(part)
            part, size = [], 0
        part.append(line)
        size += length
    if part:
        yield "\n".join(part)


def configure(log_format: LogFormat, level: str, *, direct: bool = False) -> None:
    """Send the records of structlog and of the standard library to standard error, in one format.

    With `direct`, structlog bypasses the standard library, which takes three times as long. Use it
    in processes that log often.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_texts,
    ]
    renderer: structlog.types.Processor
    if log_format is LogFormat.JSON:
        renderer = structlog.processors.JSONRenderer(_json)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if direct:
        structlog.configure(
            processors=[_whole_line] if log_format is LogFormat.JSON else [*shared, renderer],
            logger_factory=structlog.WriteLoggerFactory(sys.stderr),
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # otherwise a record that cannot be formatted is printed whole
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
