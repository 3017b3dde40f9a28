# Conversations: a history and turns that the server keeps. A turn stays if it could be answered.

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import perf_counter

import msgspec
from litestar import delete, get, post, put
from litestar.types import ASGIApp
from msgspec import UNSET

from dpr_infer.errors import DprError
from dpr_infer.request import rows_of
from dpr_infer.serve.answers import SessionAnswer, SessionState
from dpr_infer.serve.asking import ask, stored_histories
from dpr_infer.serve.bodies import AnyRequest, read_json
from dpr_infer.serve.checks import check_k, check_turn, plain_query
from dpr_infer.serve.problems import Problem, problem_of, wrong
from dpr_infer.serve.query import Query
from dpr_infer.serve.replies import Reply, json_reply, no_content
from dpr_infer.serve.schemas import MAX_TURNS, Ask, AskTurn, SessionEvent, SessionStart, Turn, TurnList
from dpr_infer.serve.served_model import OpenModel
from dpr_infer.serve.services import Services, services_of
from dpr_infer.serve.sessions import Session

_start = msgspec.json.Decoder(SessionStart)
_ask = msgspec.json.Decoder(Ask)
_ask_turn = msgspec.json.Decoder(AskTurn)
_turn_list = msgspec.json.Decoder(TurnList)
_event = msgspec.json.Decoder(SessionEvent)


@post("/v1/sessions")
async def start_session(request: AnyRequest) -> ASGIApp:
    """Begin a conversation."""
    services = services_of(request)
    asked = await read_json(request, _start)
    if asked.history is not None and asked.user is not None:
        raise wrong("history and user exclude each other; got both")
    history: Sequence[str] = asked.history or ()
    if asked.user is not None:
        history = (await stored_histories(services, [asked.user]))[asked.user]
    model = services.served.current
    skip = asked.unknown_items == "skip"
    try:
        if asked.where is not None:
            model.check_where(asked.where)
        session = Session(
            history=_known(history, "history", model, skip=skip or asked.user is not None),
            exclude=_known(asked.exclude, "exclude", model, skip=skip),
            exclude_history=asked.exclude_history,
            where=asked.where,
            strength=asked.strength,
            steer=asked.steer,
        )
    except DprError as error:
        raise problem_of(error) from None
    del session.history[: -services.settings.max_history]
    services.sessions.add(session)
    return _state(model, session, 201)


@get("/v1/sessions/{session_id:str}")
async def show_session(request: AnyRequest) -> ASGIApp:
    """Say what a conversation holds."""
    services = services_of(request)
    return _state(services.served.current, _session(request))


@delete("/v1/sessions/{session_id:str}", status_code=200)
async def end_session(request: AnyRequest) -> ASGIApp:
    """Forget a conversation."""
    services_of(request).sessions.delete(request.path_params["session_id"])
    return no_content()


@post("/v1/sessions/{session_id:str}/turns")
async def add_turn(request: AnyRequest) -> ASGIApp:
    """Say something more, and have the answer to all that was said."""
    began = perf_counter()
    services = services_of(request)
    asked = await read_json(request, _ask_turn)
    session = _session(request)
    async with session.lock:
        if len(session.turns) >= MAX_TURNS:
            raise Problem(
                409, f"a session has at most {MAX_TURNS} turns; remove some first", "too-many-turns"
            )
        model = services.served.current
        check_turn(asked.turn, model)
        turns = (*session.turns, asked.turn)
        reply = await _answer(services, model, session, turns, asked, began)
        session.turns = turns
        services.sessions.changed(session)
    return reply


@put("/v1/sessions/{session_id:str}/turns")
async def replace_turns(request: AnyRequest) -> ASGIApp:
    """Replace all turns."""
    services = services_of(request)
    asked = await read_json(request, _turn_list)
    session = _session(request)
    model = services.served.current
    for turn in asked.turns:
        check_turn(turn, model)
    async with session.lock:
        session.turns = tuple(asked.turns)
        services.sessions.changed(session)
    return _state(model, session)


@delete("/v1/sessions/{session_id:str}/turns/{number:str}", status_code=200)
async def remove_turn(request: AnyRequest) -> ASGIApp:
    """Take one turn back; the first one has the number 0."""
    services = services_of(request)
    session = _session(request)
    async with session.lock:
        number, count = str(request.path_params["number"]), len(session.turns)
        known = number.isascii() and number.isdecimal() and len(number) < 4 and int(number) < count
        if not known:
            there = f"its turns are 0 to {count - 1}" if count else "it has no turn"
            raise Problem(404, f"the session has no turn {number[:20]!r}; {there}", "unknown-turn")
        session.turns = session.turns[: int(number)] + session.turns[int(number) + 1 :]
        services.sessions.changed(session)
    return _state(services.served.current, session)


@post("/v1/sessions/{session_id:str}/recommend")
async def ask_again(request: AnyRequest) -> ASGIApp:
    """Answer what was said so far once more."""
    began = perf_counter()
    services = services_of(request)
    asked = await read_json(request, _ask)
    session = _session(request)
    async with session.lock:
        return await _answer(services, services.served.current, session, session.turns, asked, began)


@post("/v1/sessions/{session_id:str}/events")
async def add_event(request: AnyRequest) -> ASGIApp:
    """Append an item to the history of a conversation."""
    services = services_of(request)
    asked = await read_json(request, _event)
    session = _session(request)
    model = services.served.current
    try:
        [item] = _known([asked.item], "item", model, skip=False)
    except DprError as error:
        raise problem_of(error) from None
    async with session.lock:
        session.history = [*session.history, item][-services.settings.max_history :]
        services.sessions.changed(session)
    return _state(model, session)


def _session(request: AnyRequest) -> Session:
    return services_of(request).sessions.get(request.path_params["session_id"])


async def _answer(
    services: Services, model: OpenModel, session: Session, turns: tuple[Turn, ...], asked: Ask, began: float
) -> Reply:
    check_k(asked.k, services.settings.max_k)
    query = Query(
        model=model,
        history=session.history,
        prompt=turns,
        k=asked.k,
        exclude=session.exclude,
        exclude_history=session.exclude_history,
        where=session.where,
        strength=session.strength if asked.strength is UNSET else asked.strength,
        steer=session.steer if asked.steer is UNSET else asked.steer,
        unknown_items="skip",  # they were known when they came; a newer catalogue may have dropped some
    )
    queries = [query, plain_query(query)] if asked.explain else [query]
    make = partial(SessionAnswer, model=model.ref, turns=list(turns))
    return json_reply((await ask(services, [queries], began, make))[0])


def _known(ids: Sequence[str], what: str, model: OpenModel, *, skip: bool) -> list[str]:
    """Return the catalogue's own copies of known ids, which take no more memory; raises UnknownItemError."""
    items = model.recommender.items
    return [items.ids[row] for row in rows_of(list(ids), what, items, skip_unknown=skip)]


def _state(model: OpenModel, session: Session, status: int = 200) -> Reply:
    state = SessionState(model=model.ref, id=session.id, history=session.history, turns=list(session.turns))
    return json_reply(state, status)
