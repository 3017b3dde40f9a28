# Turns a request into queries. What is wrong with it is found here, before it shares a batch with others.

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dpr_infer.errors import DprError
from dpr_infer.prompt_text import Prompt, Turn, check_turns
from dpr_infer.prompt_text import check_prompt as check_text
from dpr_infer.request import rows_of
from dpr_infer.serve.problems import Problem, problem_of, wrong
from dpr_infer.serve.query import Query
from dpr_infer.serve.schemas import RecommendOne
from dpr_infer.serve.served_model import OpenModel

PLAIN_DEPTH = 1_000  # how deep the plain ranking is searched for where an item stood
MAX_ITEMS = 20_000  # of all answers of a call, the plain ones included


def check_one(
    request: RecommendOne, model: OpenModel, max_k: int, stored: Sequence[str] | None, where: str = ""
) -> list[Query]:
    """Check a request.

    Parameters
    ----------
    request : RecommendOne
        The request.
    model : OpenModel
        The model that is to answer.
    max_k : int
        Most items of an answer.
    stored : sequence of str or None
        The history of the request's user, oldest first; None if it names none.
    where : str
        Where the request stands in its call, for messages: "requests[3].".

    Returns
    -------
    list of Query
        The query and, if an explanation is asked for, the one for the plain ranking.

    Raises
    ------
    Problem
        422, naming the field, what is expected and what was got.
    """
    try:
        check_k(request.k, max_k)
        check_prompt(request.prompt, model)
        if request.where is not None:
            model.check_where(request.where)
        skip = request.unknown_items == "skip"
        history = request.history or ()
        rows_of(list(history), "history", model.recommender.items, skip_unknown=skip)
        rows_of(request.exclude, "exclude", model.recommender.items, skip_unknown=skip)
    except DprError as error:
        raise problem_of(error, where) from None
    except Problem as problem:
        raise Problem(problem.status, where + problem.detail, problem.kind) from None
    query = Query(
        model=model,
        history=history if stored is None else stored,
        prompt=request.prompt,
        k=request.k,
        exclude=request.exclude,
        exclude_history=request.exclude_history,
        where=request.where,
        strength=request.strength,
        steer=request.steer,
        # A user's items were known when they were stored; a newer catalogue may have dropped some.
        unknown_items=request.unknown_items if stored is None else "skip",
    )
    return [query, *([plain_query(query)] if request.explain else [])]


def plain_query(query: Query) -> Query:
    """Return the query for the ranking that the prompt moves."""
    return Query(
        model=query.model,
        history=query.history,
        k=max(query.k, PLAIN_DEPTH),
        exclude=query.exclude,
        exclude_history=query.exclude_history,
        where=query.where,
        unknown_items=query.unknown_items,
    )


def check_k(k: int, max_k: int) -> None:
    """Refuse, by a Problem, more items than an answer may have."""
    if k > max_k:
        raise wrong(f"k must be at most {max_k}, this server's limit; got {k}")


def check_prompt(prompt: Prompt | None, model: OpenModel) -> None:
    """Refuse, by QueryError or a Problem, a prompt that can't be read, or names tags that the model does not have."""
    if prompt is None:
        return
    if isinstance(prompt, str):
        check_text(prompt)
        return
    for turn in check_turns(prompt):
        if not isinstance(turn, str):
            check_exact(turn, model)


def check_exact(turn: Mapping[str, str], model: OpenModel) -> None:
    """Refuse, by a Problem, an exact turn that names tags that the model does not have."""
    for tag in turn:
        if tag not in model.tags:
            raise wrong(
                f"prompt must name tags of the model, spelt as GET /v1/model lists them; {tag[:50]!r} is none",
                "unknown-tag",
            )


def check_answer_size(requests: Sequence[RecommendOne]) -> None:
    """Refuse, by a Problem, calls whose answers would have more than `MAX_ITEMS` items."""
    items = sum(request.k * (2 if request.explain else 1) for request in requests)
    if items > MAX_ITEMS:
        raise wrong(
            f"a call must ask for at most {MAX_ITEMS} items in all (the sum of k, twice with explain); got {items}"
        )


def check_turn(turn: Turn, model: OpenModel) -> None:
    """Refuse, by a Problem, a turn that can't be read."""
    try:
        check_prompt([turn], model)
    except DprError as error:
        raise problem_of(error) from None
