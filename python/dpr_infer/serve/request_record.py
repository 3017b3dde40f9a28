# What is known of a request besides its answer, gathered on its way: for the log, and for traces.

from __future__ import annotations

import re
import secrets
from asyncio import Future
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from dpr_infer.serve.query import Query

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_process = secrets.token_hex(4)
_number = count(1)

RECORD_KEY = "dpr.record"  # where a request's ASGI scope has its record


@dataclass(slots=True)
class Run:
    """How queries of a request were answered. Times are those of `time.perf_counter`, in seconds.

    Attributes
    ----------
    arrived, began : float
        When they were put in line, and when a batch began with the first of them.
    ended : float
        When the last batch with one of them was over.
    batch : int
        Queries in the largest of the batches.
    timings_ms : mapping of str to float
        Milliseconds by step, of the last batch.
    """

    arrived: float
    began: float
    ended: float = 0.0
    batch: int = 0
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def batch_ended(self, ended: float, batch: int, timings_ms: Mapping[str, float]) -> None:
        """Take note of a batch: when it was over, how many queries it had, and its steps."""
        self.ended = ended
        self.batch = max(self.batch, batch)
        self.timings_ms = timings_ms


@dataclass(slots=True)
class RequestRecord:
    """One request.

    Attributes
    ----------
    request_id : str
        The client's, from its X-Request-ID, or one made up.
    queries : sequence of Query
        What it asks the model.
    runs : list of Run
        How it was answered.
    span : object
        Its span, if it is traced.
    waits_for : Future or None
        What it waits for in vain if its client leaves; None while it does something that is to be finished.
    abandoned : bool
        Whether its client has left.
    refused : bool
        Whether the server had too many requests to even look at it.
    """

    request_id: str
    queries: Sequence[Query] = ()
    runs: list[Run] = field(default_factory=list)
    span: Any = None
    waits_for: Future[Any] | None = None
    abandoned: bool = False
    refused: bool = False

    def client_left(self) -> None:
        """Take note that nobody waits for the answer, and give up what only the client wanted."""
        self.abandoned = True
        if self.waits_for is not None:
            self.waits_for.cancel()


class RequestObserver(Protocol):
    """Told of every request. Must not raise, and must not block."""

    def begin(self, record: RequestRecord, scope: Any) -> None:
        """See a request before it is answered; `scope` is ASGI's."""

    def end(self, record: RequestRecord, scope: Any, route: str, status: int, seconds: float) -> None:
        """See it answered; `route` is the template of its path, or "other"."""


# Unset outside a request, as in tests of parts.
current_request: ContextVar[RequestRecord | None] = ContextVar("current_request", default=None)


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id that a client gave its request, or a new one.

    Parameters
    ----------
    headers : iterable of (bytes, bytes)
        The request's headers, names in lower case. Of X-Request-ID at most 64 letters, digits, and . _ - are taken:
        the id is written into the log.

    Returns
    -------
    str
        The id.
    """
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{_process}-{next(_number):x}"
