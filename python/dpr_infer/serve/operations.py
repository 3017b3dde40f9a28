# Every operation of the API, for its description: a table. That it is the whole API, a test says.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpr_infer.serve import answers, schemas
from dpr_infer.serve.inference_model import InferError
from dpr_infer.serve.problems import ProblemDocument
from dpr_infer.serve.schemas import MAX_FOUND, MAX_SEARCH

Parameter = dict[str, Any]

_GUARDED = (401, 503, 504)
_WITH_BODY = (400, 413, 415, 422)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A row of the table.

    Attributes
    ----------
    method, path : str
        What is called, with the names of parameters in braces.
    name, summary, tag : str
        What it is called, what it does, and what it belongs to.
    body : type or None
        Type of the JSON body.
    status : int
        Status of an answer.
    answers : tuple of type
        Types of the JSON answer; empty for none.
    media_type : str
        Content type of an answer that is not JSON.
    outcome : str
        What the answer is.
    parameters : tuple of dict
        Parameters of path and query string, as OpenAPI describes them.
    fails : tuple of int
        Statuses of problems, besides those of every operation.
    guarded : bool
        Whether it needs a key.
    error : type
        Type of the JSON that tells of a problem.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    body: type | None = None
    status: int = 200
    answers: tuple[type, ...] = ()
    media_type: str = ""
    outcome: str = "The answer."
    parameters: tuple[Parameter, ...] = ()
    fails: tuple[int, ...] = ()
    guarded: bool = True
    error: type = ProblemDocument

    @property
    def problems(self) -> list[int]:
        """Statuses of all problems."""
        body = _WITH_BODY if self.body is not None else ()
        return sorted({*self.fails, *body, *(_GUARDED if self.guarded else ())})


def _in_path(name: str, text: str, most: int) -> Parameter:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": text,
        "schema": {"type": "string", "minLength": 1, "maxLength": most},
    }


def _in_query(name: str, text: str, schema: Parameter, *, required: bool = False) -> Parameter:
    return {"name": name, "in": "query", "required": required, "description": text, "schema": schema}


def _of_user() -> Parameter:
    described = _in_path("user", "The user's id; slashes as %2F.", schemas.MAX_NAME)
    described["schema"]["pattern"] = schemas.NO_NUL
    return described


_SESSION = _in_path("session_id", "The session's id.", 100)
_USER = _of_user()
_SESSION_PATH = "/v1/sessions/{session_id}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="post",
        path="/v1/recommend",
        name="recommend",
        summary="Recommend items for one request, or for many together: all or none.",
        tag="recommend",
        body=schemas.RecommendOne,
        answers=(answers.ModelAnswer, answers.Answers),
        fails=(404,),
    ),
    Operation(
        method="post",
        path="/v1/sessions",
        name="start_session",
        summary="Begin a conversation.",
        tag="sessions",
        body=schemas.SessionStart,
        status=201,
        answers=(answers.SessionState,),
        outcome="The session.",
        fails=(404,),
    ),
    Operation(
        method="get",
        path=_SESSION_PATH,
        name="show_session",
        summary="Say what a conversation holds.",
        tag="sessions",
        answers=(answers.SessionState,),
        outcome="The session.",
        parameters=(_SESSION,),
        fails=(404,),
    ),
    Operation(
        method="delete",
        path=_SESSION_PATH,
        name="end_session",
        summary="Forget a conversation.",
        tag="sessions",
        status=204,
        outcome="It is forgotten.",
        parameters=(_SESSION,),
        fails=(404,),
    ),
    Operation(
        method="post",
        path=f"{_SESSION_PATH}/turns",
        name="add_turn",
        summary="Say something more, and have the answer to all that was said.",
        tag="sessions",
        body=schemas.AskTurn,
        answers=(answers.SessionAnswer,),
        parameters=(_SESSION,),
        fails=(404, 409),
    ),
    Operation(
        method="put",
        path=f"{_SESSION_PATH}/turns",
        name="replace_turns",
        summary="Replace all turns.",
        tag="sessions",
        body=schemas.TurnList,
        answers=(answers.SessionState,),
        outcome="The session.",
        parameters=(_SESSION,),
        fails=(404,),
    ),
    Operation(
        method="delete",
        path=f"{_SESSION_PATH}/turns/{{number}}",
        name="remove_turn",
        summary="Take one turn back.",
        tag="sessions",
        answers=(answers.SessionState,),
        outcome="The session.",
        parameters=(
            _SESSION,
            {
                "name": "number",
                "in": "path",
                "required": True,
                "description": "Which one, from 0.",
                "schema": {"type": "integer", "minimum": 0, "maximum": schemas.MAX_TURNS - 1},
            },
        ),
        fails=(404,),
    ),
    Operation(
        method="post",
        path=f"{_SESSION_PATH}/recommend",
        name="ask_again",
        summary="Answer what was said so far once more.",
        tag="sessions",
        body=schemas.Ask,
        answers=(answers.SessionAnswer,),
        parameters=(_SESSION,),
        fails=(404,),
    ),
    Operation(
        method="post",
        path=f"{_SESSION_PATH}/events",
        name="add_session_event",
        summary="Append an item to the history of a conversation.",
        tag="sessions",
        body=schemas.SessionEvent,
        answers=(answers.SessionState,),
        outcome="The session.",
        parameters=(_SESSION,),
        fails=(404,),
    ),
    Operation(
        method="get",
        path="/v1/items",
        name="search_items",
        summary="Find items by their titles.",
        tag="items",
        answers=(answers.FoundItems,),
        parameters=(
            _in_query("q", "Words of a title.", {"type": "string", "maxLength": MAX_SEARCH}, required=True),
            _in_query(
                "limit",
                "Most items.",
                {"type": "integer", "minimum": 1, "maximum": MAX_FOUND, "default": 10},
            ),
        ),
        fails=(422,),
    ),
    Operation(
        method="get",
        path="/v1/items/{item_id}",
        name="show_item",
        summary="Return one item.",
        tag="items",
        answers=(answers.FoundItem,),
        parameters=(_in_path("item_id", "The item's id.", schemas.MAX_NAME),),
        fails=(404,),
    ),
    Operation(
        method="get",
        path="/v1/examples",
        name="list_examples",
        summary="Return the bundle's example histories.",
        tag="items",
        answers=(answers.Examples,),
    ),
    Operation(
        method="post",
        path="/v1/users/{user}/events",
        name="add_events",
        summary="Take in a user's events, all or none, before the answer comes; sent twice, they count once.",
        tag="users",
        body=schemas.UserEvents,
        answers=(answers.StoredEvents,),
        parameters=(_USER,),
        fails=(404,),
    ),
    Operation(
        method="get",
        path="/v1/users/{user}",
        name="show_user",
        summary="Return what is kept of a user; nothing, of one who is not known.",
        tag="users",
        answers=(answers.UserState,),
        parameters=(_USER,),
        fails=(404, 422),
    ),
    Operation(
        method="delete",
        path="/v1/users/{user}",
        name="forget_user",
        summary="Forget everything of a user.",
        tag="users",
        status=204,
        outcome="It is forgotten.",
        parameters=(_USER,),
        fails=(404, 422),
    ),
    Operation(
        method="get",
        path="/v1/model",
        name="show_model",
        summary="Say what serves, and the limits of requests.",
        tag="model",
        answers=(answers.ModelInfo,),
    ),
    Operation(
        method="post",
        path="/v1/admin/reload",
        name="reload",
        summary="Serve what is in the bundle's folder now; if that is bad, the model of before goes on.",
        tag="admin",
        answers=(answers.Reloaded,),
        outcome="The model of now and that of before.",
        parameters=(
            {
                "name": "X-Admin-Key",
                "in": "header",
                "required": True,
                "description": "The admin key; without one among the server's settings, there is no such route.",
                "schema": {"type": "string"},
            },
        ),
        fails=(404, 409),
    ),
    Operation(
        method="get",
        path="/v2/health/live",
        name="is_live",
        summary="Answer as long as the process can.",
        tag="health",
        outcome="It lives.",
        guarded=False,
    ),
    Operation(
        method="get",
        path="/v2/health/ready",
        name="is_ready",
        error=InferError,
        summary="Tell whether requests are taken: not before the model is warm, nor after the signal to end.",
        tag="health",
        outcome="It takes requests.",
        fails=(503,),
        guarded=False,
    ),
    Operation(
        method="get",
        path="/metrics",
        name="show_metrics",
        summary="Everything that is counted, for Prometheus.",
        tag="health",
        media_type="text/plain; version=1.0.0; charset=utf-8",
        guarded=False,
    ),
)
