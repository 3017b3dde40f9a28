# The OpenAPI description: operations.py's table and the types that the routes decode and encode, as one document.

from __future__ import annotations

from typing import Any

import msgspec

from dpr_infer.serve.operations import OPERATIONS, Operation
from dpr_infer.serve.problems import PROBLEM_JSON, TITLES, ProblemDocument
from dpr_infer.serve.protocol_operations import PROTOCOL_OPERATIONS
from dpr_infer.serve.replies import JSON
from dpr_infer.serve.schemas import RecommendMany, RecommendOne
from dpr_infer.serve.settings import Settings

_REFERENCE = "#/components/schemas/{name}"
_ABOUT = (
    "Promptable recommendation. A prompt steers the ranking inside the search, over the whole catalogue; without "
    "one, the ranking is the backbone's own. Errors are problems as of RFC 9457. Every answer names its model."
)
_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}

Document = dict[str, Any]

_ALL = (*OPERATIONS, *PROTOCOL_OPERATIONS)


def openapi_document(settings: Settings, version: str) -> Document:
    """Describe the API.

    Parameters
    ----------
    settings : Settings
        Limits, and whether keys are needed.
    version : str
        Version of the package.

    Returns
    -------
    dict
        An OpenAPI 3.1 document.
    """
    types = {t for op in _ALL for t in (op.body, *op.answers, op.error) if t} | {RecommendMany}
    _, schemas = msgspec.json.schema_components(
        sorted(types, key=lambda t: t.__name__), ref_template=_REFERENCE
    )
    _tell_limits(schemas, settings)
    paths: Document = {}
    for operation in _ALL:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, settings)
    return {
        "openapi": "3.1.0",
        "info": {"title": "dpr-serve", "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _tell_limits(schemas: Document, settings: Settings) -> None:
    """Put in what depends on settings, and what types cannot say."""
    for name in ("RecommendOne", "Ask", "AskTurn"):
        schemas[name]["properties"]["k"]["maximum"] = settings.max_k
    schemas["RecommendMany"]["properties"]["requests"]["maxItems"] = settings.max_requests
    for name in ("RecommendOne", "SessionStart"):
        schemas[name]["not"] = {
            "required": ["history", "user"],
            "properties": {"history": {"type": "array"}, "user": {"type": "string"}},
        }
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())


def _described(operation: Operation, settings: Settings) -> Document:
    described: Document = {
        "summary": operation.summary,
        "operationId": operation.name,
        "tags": [operation.tag],
        "responses": _responses(operation),
    }
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": _body_schema(operation.body)}},
        }
    if operation.guarded and settings.api_key:
        described["security"] = [{"bearer": []}, {"key": []}]
    return described


def _body_schema(body: type) -> Document:
    if body is RecommendOne:
        return {"oneOf": [_reference(RecommendOne), _reference(RecommendMany)]}
    return _reference(body)


def _responses(operation: Operation) -> Document:
    answer: Document = {"description": operation.outcome}
    if operation.answers:
        answer["content"] = {JSON: {"schema": {"anyOf": [_reference(t) for t in operation.answers]}}}
    elif operation.media_type:
        answer["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    responses = {str(operation.status): answer}
    for status in operation.problems:
        problem: Document = {
            "description": TITLES[status],
            "content": {
                PROBLEM_JSON if operation.error is ProblemDocument else JSON: {
                    "schema": _reference(operation.error)
                }
            },
        }
        if status == 503:
            problem["headers"] = _RETRY_AFTER
        responses[str(status)] = problem
    return responses


def _reference(of: type) -> Document:
    return {"$ref": _REFERENCE.format(name=of.__name__)}
