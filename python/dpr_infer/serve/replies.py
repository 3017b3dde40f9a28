# What is sent back: whole bodies of known length, with the headers that every answer of this server has.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.types import Receive, Scope, Send

from dpr_infer.serve.problems import PROBLEM_JSON, Problem

JSON = "application/json"

_encode = msgspec.json.Encoder().encode
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_WITHOUT_BODY = (204, 304)
_NO_STORE = (b"cache-control", b"no-store")


class Reply:
    """An answer, as an ASGI application that sends it.

    Parameters
    ----------
    body : bytes
        The body.
    status : int
        The HTTP status.
    media_type : str
        Its content type; empty for none.
    headers : mapping of str to str
        More headers. Without a Cache-Control among them, nobody may store the answer.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = [_NO_SNIFFING]
        if status not in _WITHOUT_BODY:
            self.headers.append((b"content-length", str(len(body)).encode()))
        if media_type:
            self.headers.append((b"content-type", media_type.encode()))
        for name, value in (headers or {}).items():
            self.headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        if not headers or "Cache-Control" not in headers:
            self.headers.append(_NO_STORE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})

    def to_asgi_response(self, **_: Any) -> Reply:
        """Return itself: how Litestar asks what an exception handler returns."""
        return self


def json_reply(content: Any, status: int = 200) -> Reply:
    """Return the answer that holds `content`, of types that msgspec encodes."""
    return Reply(_encode(content), status)


def no_content() -> Reply:
    """Return an answer without a body."""
    return Reply(status=204, media_type="")


def problem_reply(problem: Problem, path: str) -> Reply:
    """Return the answer that tells of a problem: on the Open Inference Protocol's paths in its own form."""
    if path == "/v2" or path.startswith("/v2/"):
        return Reply(_encode({"error": problem.detail}), problem.status, JSON, problem.headers)
    return Reply(problem.body(), problem.status, PROBLEM_JSON, problem.headers)
