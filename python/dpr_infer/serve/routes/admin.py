# What an operator asks for.

from __future__ import annotations

from litestar import post
from litestar.types import ASGIApp

from dpr_infer.errors import DprError
from dpr_infer.serve.answers import Reloaded
from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.replies import json_reply
from dpr_infer.serve.services import services_of


@post("/v1/admin/reload")
async def reload(request: AnyRequest) -> ASGIApp:
    """Serve what is in the bundle's folder now; if that is bad, the model of before goes on."""
    services = services_of(request)
    if not services.keys.has_admin():
        raise Problem(404, "there is no such path")
    if not services.keys.is_admin(request.scope["headers"]):
        raise Problem(
            401, "the admin key is needed, as X-Admin-Key", "admin-key", {"WWW-Authenticate": "X-Admin-Key"}
        )
    try:
        previous, current = await services.reloading.reload()
    except DprError as error:
        raise Problem(409, f"the bundle can't serve, the one before goes on: {error}", "bad-bundle") from None
    return json_reply(Reloaded(model=current.ref, previous=previous.ref))
