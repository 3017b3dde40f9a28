# What serves, and its limits.

from __future__ import annotations

from litestar import get
from litestar.types import ASGIApp

from dpr_infer._core import simd_level
from dpr_infer.manifest import Manifest
from dpr_infer.serve import schemas
from dpr_infer.serve.answers import ExpertInfo, Licence, ModelInfo
from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.checks import MAX_ITEMS
from dpr_infer.serve.replies import json_reply
from dpr_infer.serve.services import services_of
from dpr_infer.serve.settings import Settings


@get("/v1/model")
async def show_model(request: AnyRequest) -> ASGIApp:
    """Say what serves."""
    services = services_of(request)
    model = services.served.current
    recommender = model.recommender
    manifest = recommender.manifest
    info = ModelInfo(
        model=model.ref,
        tags=list(manifest.tags),
        experts=[ExpertInfo(name=expert.name, role=expert.role) for expert in manifest.experts],
        items=len(recommender.items),
        limits=limits(services.settings, manifest),
        licence=Licence(
            data=manifest.licence_data,
            weights=manifest.licence_weights,
            redistributable=manifest.redistributable,
        ),
        users=services.events is not None,
        index=services.settings.index,
        providers=list(recommender.providers),
        simd_level=simd_level(),
        wish_threshold=manifest.wish_threshold,
    )
    return json_reply(info)


def limits(settings: Settings, manifest: Manifest) -> dict[str, float]:
    """Return the limits of requests, those of the settings and those of the bundle, by name."""
    return {
        "body_bytes": settings.max_body_bytes,
        "k": settings.max_k,
        "requests": settings.max_requests,
        "items_of_a_call": MAX_ITEMS,
        "history": schemas.MAX_IDS,
        "history_read": manifest.history_limit,
        "history_kept": settings.max_history,
        "exclude": schemas.MAX_IDS,
        "turns": schemas.MAX_TURNS,
        "turn_characters": schemas.MAX_TEXT,
        "prompt_tokens_read": manifest.prompt_token_limit,
        "where_characters": schemas.MAX_WHERE,
        "name_characters": schemas.MAX_NAME,
        "strength": schemas.MAX_STRENGTH,
        "events": schemas.MAX_EVENTS,
        "sessions": settings.max_sessions,
        "session_ttl_s": settings.session_ttl_s,
        "request_timeout_s": settings.request_timeout_s,
    }
