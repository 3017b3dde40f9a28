# The routes of the HTTP API, one topic a file; here they come together.

from __future__ import annotations

import re
from collections.abc import Iterable

from litestar.handlers import HTTPRouteHandler

from dpr_infer.serve.routes import (
    admin,
    description,
    inference_protocol,
    items,
    model,
    operations,
    options,
    page,
    recommend,
    sessions,
    users,
)
from dpr_infer.serve.settings import Settings


def all_routes(settings: Settings) -> list[HTTPRouteHandler]:
    """Return the routes of a server with these settings."""
    files = page.page_files()
    routes = [
        recommend.recommend,
        sessions.start_session,
        sessions.show_session,
        sessions.end_session,
        sessions.add_turn,
        sessions.replace_turns,
        sessions.remove_turn,
        sessions.ask_again,
        sessions.add_event,
        items.search_items,
        items.show_item,
        items.list_examples,
        users.add_events,
        users.show_user,
        users.forget_user,
        model.show_model,
        admin.reload,
        operations.show_metrics,
        operations.is_live,
        operations.is_ready,
        inference_protocol.describe_server,
        inference_protocol.describe,
        inference_protocol.is_model_ready,
        inference_protocol.infer,
        description.openapi_route(settings),
        description.docs_route(files),
        page.static_route(files),
        *([] if settings.no_page else [page.page_route(files)]),
    ]
    return [*options.options_routes(routes), *routes]


def templates(routes: Iterable[HTTPRouteHandler]) -> list[str]:
    """Return the paths of routes, with the names of parameters in braces."""
    return sorted({re.sub(r":\w+}", "}", path) for route in routes for path in route.paths})
