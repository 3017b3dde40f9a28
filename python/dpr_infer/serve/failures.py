# What becomes of exceptions that a route lets through: an answer, and a line in the log where the fault is not the
# client's.

from __future__ import annotations

import logging

from litestar.exceptions import HTTPException

from dpr_infer.errors import DprError
from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.problems import Problem, Unavailable, problem_of
from dpr_infer.serve.replies import Reply, problem_reply
from dpr_infer.serve.users import EventStoreError

_log = logging.getLogger("dpr_infer.serve")


def reply_to(request: AnyRequest, error: Exception) -> Reply:
    """Return what a client is told of an exception.

    Parameters
    ----------
    request : Request
        The request that ended so.
    error : Exception
        The exception.

    Returns
    -------
    Reply
        A problem.
    """
    problem = _problem(request, error)
    if problem.status == 500:
        route = request.scope.get("path_template", "")  # not the path: it may hold a session's id
        _log.error("%s %s failed", request.method, route, exc_info=error)
    return problem_reply(problem, request.scope["path"])


def _problem(request: AnyRequest, error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, EventStoreError):
        _log.warning("users' histories: %s", error)
        return Unavailable("users' histories can't be read or written now; try again", "users", 1)
    if isinstance(error, DprError):
        return problem_of(error)
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _http_problem(request, error)
    return Problem(500, "the server failed; its log says why")


def _http_problem(request: AnyRequest, error: HTTPException) -> Problem:
    """Return what the framework found: no such path, or not with this method."""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        return Problem(404, "there is no such path; GET /openapi.json lists them")
    if error.status_code == 405:
        methods = sorted(headers.get("allow", "").split(", "))
        taken = ", ".join(method for method in methods if method != "OPTIONS")
        return Problem(
            405, f"this path takes {taken}; got {request.method}", headers={"Allow": ", ".join(methods)}
        )
    return Problem(error.status_code, error.detail, headers=headers)
