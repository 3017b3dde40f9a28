# The Open Inference Protocol, version 2, over HTTP; health is in operations.py.

from __future__ import annotations

from litestar import get, post
from litestar.types import ASGIApp

from dpr_infer.serve.bodies import AnyRequest, read_body
from dpr_infer.serve.inference_calls import HEADER_LENGTH, queries_of, read_call, write_answer
from dpr_infer.serve.inference_model import EXTENSIONS, SERVER_NAME, ServerDescription, describe_model
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.replies import Reply, json_reply
from dpr_infer.serve.served_model import OpenModel
from dpr_infer.serve.services import services_of

_MODEL = "/v2/models/{model_name:str}"
_VERSION = _MODEL + "/versions/{version:str}"


@get("/v2")
async def describe_server(request: AnyRequest) -> ASGIApp:
    """Say what the server is."""
    from dpr_infer import __version__

    return json_reply(ServerDescription(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS))


@get([_MODEL, _VERSION])
async def describe(request: AnyRequest) -> ASGIApp:
    """Say what the model's tensors are."""
    return json_reply(describe_model(_named(request)))


@get([_MODEL + "/ready", _VERSION + "/ready"])
async def is_model_ready(request: AnyRequest) -> ASGIApp:
    """Answer 200 if the model is there; that requests are taken at all was found out before."""
    _named(request)
    return Reply(media_type="")


@post([_MODEL + "/infer", _VERSION + "/infer"])
async def infer(request: AnyRequest) -> ASGIApp:
    """Recommend items for the rows of a tensor."""
    services = services_of(request)
    model = _named(request)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(415, f"a body must be sent as it is, without Content-Encoding; got {encoding[:60]!r}")
    body = await read_body(request)
    call = read_call(body, request.headers.get(HEADER_LENGTH), services.settings.max_requests)
    found = await services.batcher.submit(queries_of(call, model, services.settings))
    return write_answer(call, model, found)


def _named(request: AnyRequest) -> OpenModel:
    """Return the model that serves, if it has the name and the version of the path; Problem 404 if not."""
    model = services_of(request).served.current
    name, version = request.path_params["model_name"], request.path_params.get("version", model.version)
    if name != model.name:
        raise Problem(404, f"the model is {model.name!r}; got {name[:60]!r}")
    if version != model.version:
        raise Problem(404, f"the version of {model.name} is {model.version!r}; got {version[:60]!r}")
    return model
