# For those who run the server: metrics, and whether it lives and takes requests.

from __future__ import annotations

from litestar import get
from litestar.types import ASGIApp

from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.replies import Reply
from dpr_infer.serve.services import services_of


@get("/metrics")
async def show_metrics(request: AnyRequest) -> ASGIApp:
    """Return everything that is counted, for Prometheus."""
    content, media_type = services_of(request).metrics.render(request.headers.get("accept", ""))
    return Reply(content, media_type=media_type)


@get("/v2/health/live")
async def is_live(request: AnyRequest) -> ASGIApp:
    """Answer as long as the process can."""
    return Reply(media_type="")


@get("/v2/health/ready")
async def is_ready(request: AnyRequest) -> ASGIApp:
    """Answer 200 if requests are taken: not before the model is warm, nor after the signal to end."""
    readiness = services_of(request).readiness
    if readiness.ready:
        return Reply(media_type="")
    raise readiness.refusal()
