# The description of the API, for programs and for people; made once, when the server starts.

from __future__ import annotations

from importlib.metadata import version

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.openapi import openapi_document
from dpr_infer.serve.replies import Reply
from dpr_infer.serve.routes.page import StaticFile
from dpr_infer.serve.settings import Settings


def openapi_route(settings: Settings) -> HTTPRouteHandler:
    """Return the route of the OpenAPI document."""
    document = msgspec.json.encode(openapi_document(settings, version("dpr-infer")))

    @get("/openapi.json")
    async def show_openapi(request: AnyRequest) -> ASGIApp:
        """Return the OpenAPI document."""
        return Reply(document)

    return show_openapi


def docs_route(files: dict[str, StaticFile]) -> HTTPRouteHandler:
    """Return the route of the page that shows the OpenAPI document."""

    @get("/docs")
    async def show_docs(request: AnyRequest) -> ASGIApp:
        """Return the page."""
        return files["docs.html"].reply(request)

    return show_docs
