# POST /v1/recommend: one request, or many together.

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

import msgspec
from litestar import post
from litestar.types import ASGIApp
from msgspec import UNSET

from dpr_infer.serve.answers import Answer, Answers, ModelAnswer
from dpr_infer.serve.asking import ask, stored_histories
from dpr_infer.serve.bodies import AnyRequest, read_json
from dpr_infer.serve.checks import check_answer_size, check_one
from dpr_infer.serve.problems import wrong
from dpr_infer.serve.query import Query
from dpr_infer.serve.replies import json_reply
from dpr_infer.serve.schemas import RecommendCall, RecommendOne
from dpr_infer.serve.served_model import OpenModel
from dpr_infer.serve.services import Services, services_of

_call = msgspec.json.Decoder(RecommendCall)
_EMPTY = RecommendOne()


@post("/v1/recommend")
async def recommend(request: AnyRequest) -> ASGIApp:
    """Recommend items for one request, or for many."""
    began = perf_counter()
    services = services_of(request)
    call = await read_json(request, _call)
    model = services.served.current
    if call.requests is UNSET:
        checked = await _checked(services, model, [call], [""])
        [answer] = await ask(services, checked, began, partial(ModelAnswer, model=model.ref))
        return json_reply(answer)
    _check_many(call, services, call.requests)
    places = [f"requests[{number}]." for number in range(len(call.requests))]
    checked = await _checked(services, model, call.requests, places)
    return json_reply(Answers(model=model.ref, answers=await ask(services, checked, began, Answer)))


def _check_many(call: RecommendCall, services: Services, requests: Sequence[RecommendOne]) -> None:
    others = [name for name in RecommendOne.__struct_fields__ if getattr(call, name) != getattr(_EMPTY, name)]
    if others:
        raise wrong(f"requests stands alone; got {others[0]} beside it")
    most = services.settings.max_requests
    if len(requests) > most:
        raise wrong(f"requests must have at most {most} entries, this server's limit; got {len(requests)}")


async def _checked(
    services: Services, model: OpenModel, requests: Sequence[RecommendOne], places: Sequence[str]
) -> list[list[Query]]:
    """Return the queries of all requests, if all of them are right."""
    for request, place in zip(requests, places, strict=True):
        if request.history is not None and request.user is not None:
            raise wrong(f"{place}history and {place}user exclude each other; got both")
    users = {request.user for request in requests if request.user is not None}
    stored = await stored_histories(services, users)
    max_k = services.settings.max_k
    checked = [
        check_one(request, model, max_k, stored.get(request.user or ""), place)
        for request, place in zip(requests, places, strict=True)
    ]
    check_answer_size(requests)
    return checked
