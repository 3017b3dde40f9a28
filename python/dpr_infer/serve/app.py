# Puts one server together: the model, what batches its queries, the routes, and what every request passes first.

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from dpr_infer.serve.access import Keys, Origins
from dpr_infer.serve.batcher import Batcher
from dpr_infer.serve.failures import reply_to
from dpr_infer.serve.front import Front
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.readiness import DRAINING, FAILED, READY, Readiness
from dpr_infer.serve.reloading import Reloading
from dpr_infer.serve.request_record import RequestObserver
from dpr_infer.serve.routes import all_routes, templates
from dpr_infer.serve.served_model import ServedModel
from dpr_infer.serve.services import Services
from dpr_infer.serve.sessions import SessionStore
from dpr_infer.serve.settings import Settings
from dpr_infer.serve.users import open_event_store

_log = logging.getLogger("dpr_infer.serve")


def build_app(settings: Settings, observers: Sequence[RequestObserver] = ()) -> Litestar:
    """Open the bundle and the store of users' events, and put a server around them.

    Parameters
    ----------
    settings : Settings
        What to serve, and how.
    observers : sequence of RequestObserver
        Told of requests: the log, traces.

    Returns
    -------
    Litestar
        The ASGI application; `app.state.services` has its parts. It warms up when it starts, and takes no request
        before that is done.

    Raises
    ------
    DprError
        If the bundle or the store can't be opened.
    """
    routes = all_routes(settings)
    metrics = Metrics(templates(routes))
    served = ServedModel(settings)
    services = Services(
        settings=settings,
        served=served,
        batcher=Batcher(
            max_batch=settings.max_batch,
            wait_ms=settings.batch_wait_ms,
            queue_limit=settings.queue_limit,
            metrics=metrics,
            patience_s=settings.request_timeout_s / 2,  # the other half is for the answer
        ),
        metrics=metrics,
        sessions=SessionStore(settings.max_sessions, settings.session_ttl_s, metrics),
        events=open_event_store(settings.users, max_history=settings.max_history),
        readiness=Readiness(settings.queue_limit + settings.max_batch, metrics),
        keys=Keys(settings.api_key, settings.admin_key),
        reloading=Reloading(served, metrics),
    )
    metrics.serve_model(served.name, served.version)
    app = Litestar(
        route_handlers=routes,
        exception_handlers={Exception: reply_to, HTTPException: reply_to},  # type: ignore[dict-item]
        lifespan=[_lifespan],
        state=State({"services": services}),
        openapi_config=None,
        logging_config=None,
        cors_config=None,
        request_max_body_size=settings.max_body_bytes,
    )
    app.asgi_handler = _front(app.asgi_handler, settings, services, observers)
    return app


def _front(
    app: ASGIApp, settings: Settings, services: Services, observers: Sequence[RequestObserver]
) -> Front:
    return Front(
        app,
        keys=services.keys,
        origins=Origins(settings.cors_origin),
        readiness=services.readiness,
        timeout_s=settings.request_timeout_s,
        metrics=services.metrics,
        observers=observers,
    )


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    services: Services = app.state.services
    warming = asyncio.create_task(_warm(services))
    try:
        yield
    finally:
        services.readiness.become(DRAINING)
        await warming
        await services.batcher.close()
        if services.events is not None:
            await services.events.close()


async def _warm(services: Services) -> None:
    served = services.served
    try:
        await asyncio.to_thread(served.warm)
    except Exception:
        _log.exception("%s %s failed to warm up", served.name, served.version)
        services.readiness.become(FAILED)
        return
    services.readiness.become(READY)
    _log.info("%s %s is ready: %d items", served.name, served.version, len(served.recommender.items))
