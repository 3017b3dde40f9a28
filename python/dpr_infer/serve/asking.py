# From checked queries to the answers that are sent.

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from time import perf_counter
from typing import TypeVar

from dpr_infer.serve.answers import Answer, PlainItem, RankedItem, UnderstoodWish
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.query import Query
from dpr_infer.serve.services import Services
from dpr_infer.serve.users import EventStore
from dpr_infer.types import Recommendation

A = TypeVar("A", bound=Answer)


async def ask(
    services: Services,
    asked: Sequence[Sequence[Query]],
    began: float,
    make: Callable[..., A],
) -> list[A]:
    """Ask for recommendations, all at once.

    Parameters
    ----------
    services : Services
        The server's parts.
    asked : sequence of sequence of Query
        For each answer its query and, where it is to be explained, the one for the plain ranking.
    began : float
        When the request came, by `time.perf_counter`, in seconds.
    make : callable
        Makes the answer of its fields: `Answer`, or one that has more of them already.

    Returns
    -------
    list of Answer
        One an entry of `asked`.

    Raises
    ------
    Problem, DprError
        If an answer cannot be given; then none is.
    """
    found = iter(await services.batcher.submit([query for queries in asked for query in queries]))
    answers = []
    for queries in asked:
        steered = next(found)
        plain = next(found) if len(queries) > 1 else None
        answer = _answer(steered, make)
        if plain is not None:
            _explain(answer, steered, plain, queries[0])
        answer.took_ms = round((perf_counter() - began) * 1e3, 3)
        answers.append(answer)
    return answers


def event_store(services: Services) -> EventStore:
    """Return the histories of users; raises Problem 404 if they are turned off."""
    if services.events is None:
        raise Problem(404, "this server keeps no histories of users", "no-users")
    return services.events


async def stored_histories(services: Services, users: Collection[str]) -> dict[str, list[str]]:
    """Return users' newest items, oldest first; raises Problem or EventStoreError."""
    if not users:
        return {}
    events, most = event_store(services), services.settings.max_history
    if len(users) == 1:
        [user] = users
        return {user: await events.history(user, most)}
    histories = await asyncio.gather(*(events.history(user, most) for user in users))
    return dict(zip(users, histories, strict=True))


def _answer(found: Recommendation, make: Callable[..., A]) -> A:
    columns = zip(found.items, found.titles, found.tags, found.scores.tolist(), strict=True)
    items = [RankedItem(id=i, title=title, tags=tags, score=score) for i, title, tags, score in columns]
    return make(
        items=items,
        wishes=[UnderstoodWish(tag=w.tag, asked=w.asked, refused=w.refused) for w in found.wishes],
        prompt_truncated=found.prompt_truncated,
        history_truncated=found.history_truncated,
        history_unread=found.history_unread,
        prompt_cached=found.prompt_cached,
        took_ms=0.0,
    )


def _explain(answer: Answer, found: Recommendation, plain: Recommendation, query: Query) -> None:
    threshold = query.model.recommender.manifest.wish_threshold
    asked = {wish.tag for wish in found.wishes if wish.asked >= threshold}
    refused = {wish.tag for wish in found.wishes if wish.refused >= threshold}
    ranks = {row: rank for rank, row in enumerate(plain.rows.tolist(), 1)}
    for item, row in zip(answer.items, found.rows.tolist(), strict=True):
        item.asked = [tag for tag in item.tags if tag in asked]
        item.refused = [tag for tag in item.tags if tag in refused]
        item.plain_rank = ranks.get(row)
    scores = plain.scores[: query.k].tolist()
    top = zip(plain.items, plain.titles, plain.tags, scores, strict=False)  # the scores are fewest
    answer.plain = [PlainItem(id=i, title=title, tags=tags, score=score) for i, title, tags, score in top]
    if found.timings_ms is not None:
        answer.timings_ms = found.timings_ms
