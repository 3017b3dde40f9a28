# One HTTP connection, with bounds on what a client may send before a request can be answered: bytes and time.

from __future__ import annotations

import asyncio
from asyncio import Transport
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dpr_infer.serve.problems import PROBLEM_JSON, Problem
from dpr_infer.serve.request_record import RECORD_KEY, RequestRecord

MAX_OVERHEAD_BYTES = (
    262_144  # of a request, besides its body: request line, headers, framing of chunks, trailers
)
# Who is refused for there being too many requests is told to come back after a second. The connection is not read
# before, so that those who do not listen can't keep the server busy with refusals.
_PAUSE_S = 1.0
_REASONS = {400: b"Bad Request", 431: b"Request Header Fields Too Large", 503: b"Service Unavailable"}


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, which itself waits for a request's head for ever and keeps whatever comes.

    Parameters
    ----------
    patience_s : float
        Seconds in which a head must come, counted from the connection or from its first byte, and in which the rest
        of a body must come that was answered before it was read.
    most : int
        Most connections of the server.
    of_uvicorn
        What uvicorn gives its connections.
    """

    def __init__(self, *, patience_s: float, most: int, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._patience_s = patience_s
        self._most = most
        self._overhead_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self._refuse(Problem(503, "the server has too many connections", headers={"Retry-After": "1"}))
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and tell a request that nobody waits for its answer any more.

        ASGI's own message would have to be waited for, by one more task a request.
        """
        self._wait_no_longer()
        if self._pause is not None:
            self._pause.cancel()
        super().connection_lost(exc)
        if self.cycle is not None and self.cycle.disconnected:
            _record(self.cycle).client_left()

    def data_received(self, data: bytes) -> None:
        """Take in bytes, unless they are too many that are no body."""
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self._overhead_bytes > MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                Problem(431, f"a request may have {MAX_OVERHEAD_BYTES} bytes besides its body; got more")
            )

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """Begin a request, whose own time limit holds from here on."""
        self._wait_no_longer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of a body; how long it may get is the request's to say."""
        self._overhead_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the reading of a request."""
        self._overhead_bytes = 0
        if self.cycle.response_complete:
            self._wait_no_longer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End a request; what is left of its body is not waited for long."""
        is_last = not self.pipeline  # or else `cycle` is a later request, and this one was read to its end
        super().on_response_complete()
        if not is_last:
            return
        if self.cycle.more_body:
            self._wait()
        elif _record(self.cycle).refused and not self.transport.is_closing():
            self.flow.pause_reading()
            self._pause = self.loop.call_later(_PAUSE_S, self.flow.resume_reading)

    def send_400_response(self, msg: str) -> None:
        """Tell that what came is no HTTP."""
        self._refuse(Problem(400, "the request must be HTTP/1.1; it can't be read"))

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing of a client that would rather speak another protocol."""

    def _wait(self) -> None:
        self._wait_no_longer()
        self._deadline = self.loop.call_later(self._patience_s, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, problem: Problem) -> None:
        """Answer, unless an answer is under way, and close the connection."""
        if self.cycle is None or self.cycle.response_complete:
            body = problem.body()
            headers = {
                "content-type": PROBLEM_JSON,
                "content-length": str(len(body)),
                "connection": "close",
                **problem.headers,
            }
            lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items())
            status = b"HTTP/1.1 %d %s\r\n" % (problem.status, _REASONS[problem.status])
            self.transport.write(status + lines + b"\r\n" + body)
        self.transport.close()


def _record(cycle: RequestResponseCycle) -> RequestRecord:
    """Return the record of a request; an empty one if it was not begun."""
    found: RequestRecord | None = cast("dict[str, Any]", cycle.scope).get(RECORD_KEY)
    return found or RequestRecord("")
