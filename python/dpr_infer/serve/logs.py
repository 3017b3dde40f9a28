# The log: one JSON object a line, on the standard error stream. No prompt and no history gets into it unless that is
# asked for.

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from dpr_infer.errors import DprError, QueryError
from dpr_infer.serve.request_record import RequestRecord

LOGGER = "dpr_infer.serve"

# Asked for every few seconds by machines.
_QUIET_ROUTES = ("/metrics", "/v2/health/live", "/v2/health/ready")
_MOST_LOGGED_QUERIES = 16

_encode = msgspec.json.Encoder().encode


class Stream(Protocol):
    """Where bytes go."""

    def write(self, content: bytes, /) -> object:
        """Take all of it."""

    def flush(self) -> object:
        """Hand it on."""


class LineWriter:
    """Writes lines, each in one piece, from any thread. What can't be written is lost, and nothing else fails of it.

    Parameters
    ----------
    stream : Stream
        Where to.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def write(self, fields: dict[str, Any]) -> None:
        """Write an object. It begins with the time; values that JSON does not have are spelt out."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), **fields}
        try:
            content = _encode(line)
        except (TypeError, ValueError):
            content = _encode(
                {name: value if _is_plain(value) else repr(value) for name, value in line.items()}
            )
        try:
            self._stream.write(content + b"\n")
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a reader that left, a stream that was closed
            return


class JsonHandler(logging.Handler):
    """Writes the records of loggers.

    Parameters
    ----------
    writer : LineWriter
        Where to.
    log_prompts : bool
        Whether messages of exceptions may be written that might quote a prompt or a history.
    """

    def __init__(self, writer: LineWriter, *, log_prompts: bool) -> None:
        super().__init__()
        self._writer = writer
        self._log_prompts = log_prompts

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        fields: dict[str, Any] = {"level": record.levelname.lower(), "event": _message(record)}
        if record.name != LOGGER:
            fields["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            fields |= self._failure(record.exc_info[1])
        self._writer.write(fields)

    def _failure(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)
        failure = {
            "error": type(error).__name__,
            "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        # Ours say what is wrong without quoting, but for those about queries; a KeyError may be a whole prompt.
        if self._log_prompts or (isinstance(error, DprError) and not isinstance(error, QueryError)):
            failure["message"] = str(error)
        return failure


class RequestLog:
    """Writes a line for every request. It does not go through `logging`, whose records cost as much as a small batch.

    Parameters
    ----------
    writer : LineWriter
        Where to.
    level : str
        Least level of lines: "debug" has health checks too, "warning" only what the server could not do.
    log_prompts : bool
        Whether lines have prompts and histories, of the first 16 queries.
    """

    def __init__(self, writer: LineWriter, *, level: str, log_prompts: bool) -> None:
        self._writer = writer
        self._least = logging.getLevelNamesMapping()[level.upper()]
        self._log_prompts = log_prompts

    def begin(self, record: RequestRecord, scope: Any) -> None:
        """See a request; nothing is written yet."""

    def end(self, record: RequestRecord, scope: Any, route: str, status: int, seconds: float) -> None:
        """Write the line of a request."""
        level = _level(route, status)
        if level < self._least:
            return
        fields: dict[str, Any] = {
            "level": logging.getLevelName(level).lower(),
            "event": "request",
            "request_id": record.request_id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1e3, 3),
        }
        if record.runs:
            fields["batch"] = max(run.batch for run in record.runs)
            fields["queue_ms"] = round(sum(run.began - run.arrived for run in record.runs) * 1e3, 3)
        if self._log_prompts and record.queries:
            asked = record.queries[:_MOST_LOGGED_QUERIES]
            fields["queries"] = [{"prompt": query.prompt, "history": list(query.history)} for query in asked]
        self._writer.write(fields)


def start_logging(level: str, *, log_prompts: bool, stream: Stream | None = None) -> LineWriter:
    """Write the lines of all loggers as JSON, and warnings too.

    Parameters
    ----------
    level : str
        Least level.
    log_prompts : bool
        As for `JsonHandler`.
    stream : Stream, optional
        Where to; the standard error stream by default.

    Returns
    -------
    LineWriter
        Where lines go, for `RequestLog`.
    """
    writer = LineWriter(sys.stderr.buffer if stream is None else stream)
    logging.basicConfig(
        level=level.upper(), handlers=[JsonHandler(writer, log_prompts=log_prompts)], force=True
    )
    logging.captureWarnings(True)
    return writer


def _level(route: str, status: int) -> int:
    if status >= 500:
        return logging.ERROR if status == 500 else logging.WARNING
    return logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # wrong arguments of some library's message
        return str(record.msg)


def _is_plain(value: object) -> bool:
    try:
        _encode(value)
    except (TypeError, ValueError):
        return False
    return True
