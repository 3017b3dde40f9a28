# OPTIONS of every path. Litestar's own answer forgets methods where several handlers share a path.

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from litestar import route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.replies import Reply


def options_routes(routes: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return routes that tell what the given ones take; to be registered before them."""
    methods: defaultdict[str, set[str]] = defaultdict(set)
    for handler in routes:
        for path in handler.paths:
            methods[path] |= handler.http_methods
    return [_options_route(path, sorted({*taken, "OPTIONS"})) for path, taken in methods.items()]


def _options_route(path: str, methods: list[str]) -> HTTPRouteHandler:
    reply = Reply(status=204, media_type="", headers={"Allow": ", ".join(methods)})

    @route(path, http_method="OPTIONS", status_code=200)
    async def tell_methods(request: AnyRequest) -> ASGIApp:
        """Tell the methods that the path takes."""
        return reply

    return tell_methods
