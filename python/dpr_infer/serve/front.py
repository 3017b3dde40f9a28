# What every request passes first and every answer last: keys, origins, whether requests are taken, the time that one
# may take, and the counting of it all.

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils import normalize_path

from dpr_infer.serve.access import ADMIN_PREFIX, Headers, Keys, Origins, is_guarded
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import Overloaded, Problem
from dpr_infer.serve.readiness import DRAINING, Readiness
from dpr_infer.serve.replies import Reply, problem_reply
from dpr_infer.serve.request_record import (
    RECORD_KEY,
    RequestObserver,
    RequestRecord,
    current_request,
    request_id,
)
from dpr_infer.serve.user_paths import keep_slashes

_LONGEST_PATH = 4_096  # bytes; routing keeps the last paths


class Front:
    """An ASGI application around another one.

    Parameters
    ----------
    app : ASGI application
        What answers.
    keys : Keys
        Who is let in.
    origins : Origins
        Whose pages may read answers.
    readiness : Readiness
        Whether requests are taken.
    timeout_s : float
        Longest time of a request in seconds; a reload may take longer.
    metrics : Metrics
        Counts requests.
    observers : sequence of RequestObserver
        Told of requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keys,
        origins: Origins,
        readiness: Readiness,
        timeout_s: float,
        metrics: Metrics,
        observers: Sequence[RequestObserver] = (),
    ) -> None:
        self._app = app
        self._keys = keys
        self._origins = origins
        self._readiness = readiness
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._observers = observers

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        record = RequestRecord(request_id(scope["headers"]))
        current_request.set(record)
        scope[RECORD_KEY] = record
        sender = _Sender(send, self._headers(scope["headers"], record))
        if scope["method"] == "HEAD":  # whoever sends it on still sees HEAD, and leaves out the body
            scope = {**scope, "method": "GET"}
            sender.without_body = True
        for observer in self._observers:
            observer.begin(record, scope)
        try:
            await self._answer(scope, receive, sender)
        finally:
            self._end(record, scope, sender.status or 500, perf_counter() - began)

    def _end(self, record: RequestRecord, scope: Any, status: int, seconds: float) -> None:
        # Before routing, the path itself may be a template; Metrics knows which.
        route = self._metrics.route(scope.get("path_template") or scope["path"])
        self._metrics.request_done(route, status, seconds)
        for observer in self._observers:
            observer.end(record, scope, route, status, seconds)

    def _headers(self, headers: Headers, record: RequestRecord) -> list[tuple[bytes, bytes]]:
        """Return what is added to the headers of the answer."""
        added = [(b"x-request-id", record.request_id.encode())]
        added += self._origins.headers_for(headers) if self._origins else []
        if self._readiness.state == DRAINING:
            added.append((b"connection", b"close"))
        return added

    async def _answer(self, scope: Any, receive: Receive, sender: _Sender) -> None:
        # As routing does by itself, later: who needs a key is told by the path that is routed.
        scope["path"] = normalize_path(scope["path"])
        keep_slashes(scope)
        path = scope["path"]
        if self._origins and Origins.is_preflight(scope["method"], scope["headers"]):
            sender.added += Origins.preflight_headers()
            await Reply(status=204, media_type="")(scope, receive, sender)
            return
        try:
            if len(path) > _LONGEST_PATH:
                raise Problem(414, f"a path must have at most {_LONGEST_PATH} characters; got {len(path)}")
            if is_guarded(path):
                await self._guarded(scope, receive, sender)
            else:
                await self._app(scope, receive, sender)
        except Problem as problem:
            scope[RECORD_KEY].refused = isinstance(problem, Overloaded)
            await problem_reply(problem, path)(scope, receive, sender)

    async def _guarded(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        self._keys.admit(scope["path"], scope["headers"])
        self._readiness.enter()
        try:
            patience = None if scope["path"].startswith(ADMIN_PREFIX) else self._timeout_s
            async with asyncio.timeout(patience) as limit:
                await self._app(scope, receive, sender)
        except TimeoutError:
            if not limit.expired() or sender.status:
                raise
            self._metrics.timeouts.inc()
            raise Problem(504, f"a request may take at most {self._timeout_s:g} s", "timeout") from None
        finally:
            self._readiness.leave()


class _Sender:
    """Sends on, with more headers, and remembers the status; 0 as long as nothing was sent."""

    __slots__ = ("_send", "added", "status", "without_body")

    def __init__(self, send: Send, added: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self.added = added
        self.status = 0
        self.without_body = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.added:
                message["headers"] = [*message["headers"], *self.added]
        elif self.without_body and message["type"] == "http.response.body":
            message["body"] = b""
        await self._send(message)
