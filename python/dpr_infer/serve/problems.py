# Errors as clients see them: RFC 9457 problems. What is wrong is said by whoever finds it; here it gets its status.

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dpr_infer.errors import DprError, EngineError, QueryError, UnknownItemError, WhereError

PROBLEM_JSON = "application/problem+json"

TITLES = {
    400: "Bad request",
    401: "Key needed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request too slow",
    409: "Conflict",
    413: "Body too large",
    414: "Path too long",
    415: "Unsupported media type",
    422: "Wrong content",
    431: "Header too large",
    499: "Client gone",
    500: "Internal error",
    503: "Not available now",
    504: "Timed out",
}


class ProblemDocument(msgspec.Struct, kw_only=True):
    """A problem, as it is sent.

    Attributes
    ----------
    type : str
        "about:blank", or what kind of problem of this status it is, for programs: "urn:dpr:unknown-item".
    title, status, detail
        As RFC 9457 has them.
    """

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """A request that gets no answer.

    Parameters
    ----------
    status : int
        The HTTP status.
    detail : str
        What is wrong, what was expected and what was got.
    kind : str
        What comes behind "urn:dpr:" in the problem's type; empty for none.
    headers : mapping of str to str
        Headers of the answer.
    """

    def __init__(
        self, status: int, detail: str, kind: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON document."""
        return msgspec.json.encode(
            ProblemDocument(
                type=f"urn:dpr:{self.kind}" if self.kind else "about:blank",
                title=TITLES.get(self.status, "Error"),
                status=self.status,
                detail=self.detail,
            )
        )


class Unavailable(Problem):
    """The server does not take the request now; the client may try again.

    Parameters
    ----------
    detail : str
        Why.
    reason : {"queue_full", "new_prompts", "waited", "draining", "not_ready", "users"}
        All but "users" are labels of the metric `dpr_shed_total`.
    retry_after_s : int
        When to try again, in seconds.
    """

    def __init__(self, detail: str, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(503, detail, reason.replace("_", "-"), {"Retry-After": str(retry_after_s)})
        self.reason = reason


class Overloaded(Unavailable):
    """More queries wait than may wait, or than can be answered in time."""

    def __init__(self, detail: str, reason: str = "queue_full", retry_after_s: int = 1) -> None:
        super().__init__(detail, reason, retry_after_s)


class ClientGone(Problem):
    """Whoever asked has left. Nobody is sent this; log and metrics have its status, as those of nginx do."""

    def __init__(self) -> None:
        super().__init__(499, "the client closed the connection before the answer")


def wrong(detail: str, kind: str = "") -> Problem:
    """Return the problem of valid JSON with wrong content."""
    return Problem(422, detail, kind)


def problem_of(error: DprError, where: str = "") -> Problem:
    """Return what an error of the runtime is to a client.

    Parameters
    ----------
    error : DprError
        The error.
    where : str
        What its message begins with, such as "requests[3].".

    Returns
    -------
    Problem
        422 for what the client can mend; 500 otherwise, without the message, which may tell of the machine.
    """
    if isinstance(error, QueryError):
        kind = {UnknownItemError: "unknown-item", WhereError: "where"}.get(type(error), "")
        return wrong(f"{where}{error}", kind)
    if isinstance(error, EngineError):
        return Problem(500, "the engine failed; the server's log says why", "engine")
    return Problem(500, "the server failed; its log says why")
