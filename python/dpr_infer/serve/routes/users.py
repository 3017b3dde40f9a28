# Users' histories: events that the store keeps durably before they are acknowledged.

from __future__ import annotations

import time

import msgspec
from litestar import delete, get, post
from litestar.types import ASGIApp

from dpr_infer.errors import DprError
from dpr_infer.request import rows_of
from dpr_infer.serve.answers import StoredEvents, UserState
from dpr_infer.serve.asking import event_store
from dpr_infer.serve.bodies import AnyRequest, read_json
from dpr_infer.serve.problems import problem_of
from dpr_infer.serve.replies import json_reply, no_content
from dpr_infer.serve.schemas import UserEvents
from dpr_infer.serve.services import services_of
from dpr_infer.serve.user_paths import user_in
from dpr_infer.serve.users import Event

_events = msgspec.json.Decoder(UserEvents)


@post("/v1/users/{user:str}/events")
async def add_events(request: AnyRequest) -> ASGIApp:
    """Take in a user's events, all or none; they are durable when the answer comes."""
    services = services_of(request)
    store = event_store(services)
    asked = await read_json(request, _events)
    model = services.served.current
    try:
        ids = [event.item for event in asked.events]
        rows_of(ids, "events: each item", model.recommender.items, skip_unknown=False)
        now = time.time()
        events = [
            Event(event.event_id, event.item, now if event.timestamp is None else event.timestamp)
            for event in asked.events
        ]
    except DprError as error:
        raise problem_of(error) from None
    appended = await store.append(user_in(request.scope), events)
    services.metrics.user_events.inc(appended.stored)
    return json_reply(StoredEvents(model=model.ref, stored=appended.stored, duplicates=appended.duplicates))


@get("/v1/users/{user:str}")
async def show_user(request: AnyRequest) -> ASGIApp:
    """Return what is kept of a user; nothing, of one who is not known."""
    services = services_of(request)
    store = event_store(services)
    user = user_in(request.scope)
    history = await store.history(user, services.settings.max_history)
    count = await store.count(user)
    return json_reply(UserState(model=services.served.current.ref, user=user, history=history, events=count))


@delete("/v1/users/{user:str}", status_code=200)
async def forget_user(request: AnyRequest) -> ASGIApp:
    """Forget everything of a user."""
    await event_store(services_of(request)).delete(user_in(request.scope))
    return no_content()
