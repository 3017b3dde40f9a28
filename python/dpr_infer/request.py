# Checks what callers pass, and brings it into one shape: a list of queries, each with its options.

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import QueryError, QueryTypeError, UnknownItemError
from dpr_infer.items import ItemTable
from dpr_infer.prompt_text import Prompt, Turn, check_prompt_type

Exclude = Iterable[str] | Sequence[Iterable[str]]
Ids = list[str] | tuple[str, ...]

_NO_ROWS: NDArray[np.int64] = np.empty(0, dtype=np.int64)
_NO_ROWS.flags.writeable = False  # one for all


class Options(NamedTuple):
    """The options of a query, checked.

    Attributes
    ----------
    k : int
        Most items of an answer, >= 1.
    strength : float
        How far the prompt may move the ranking, finite and >= 0.
    strict : bool
        Whether items with a refused tag are left out.
    exclude_history : bool
        Whether the history's own items are left out.
    skip_unknown : bool
        Whether unknown item ids are passed over rather than refused.
    where : str or None
        Tag expression.
    """

    k: int
    strength: float
    strict: bool
    exclude_history: bool
    skip_unknown: bool
    where: str | None


class QueryArguments(NamedTuple):
    """One query of a call.

    Attributes
    ----------
    history : list or tuple of object
        Item ids, oldest first; not checked yet.
    prompt : Prompt or None
        The prompt; not checked yet.
    exclude : list or tuple of object
        Item ids never to return; not checked yet.
    options : Options
        Everything else.
    """

    history: Ids
    prompt: Prompt | None
    exclude: Ids
    options: Options


def check_options(
    k: SupportsIndex,
    *,
    strength: float,
    steer: str,
    exclude_history: bool,
    unknown_items: str,
    where: str | None,
) -> Options:
    """Check the options of a call.

    Parameters
    ----------
    k, strength, steer, exclude_history, unknown_items, where
        As `Recommender.query` documents them.

    Returns
    -------
    Options
        The checked options.

    Raises
    ------
    QueryError
        Saying which option is wrong, what is expected and what was got.
    """
    if steer not in ("soft", "strict"):
        raise QueryError(f'steer must be "soft" or "strict"; got {steer!r}')
    if unknown_items not in ("error", "skip"):
        raise QueryError(f'unknown_items must be "error" or "skip"; got {unknown_items!r}')
    if not isinstance(exclude_history, bool):
        raise QueryTypeError(f"exclude_history must be True or False; got {exclude_history!r}")
    if where is not None and not isinstance(where, str):
        raise QueryTypeError(f"where must be a str or None; got {type(where).__name__}")
    return Options(
        k if type(k) is int and k >= 1 else _check_k(k),
        strength if type(strength) is float and 0 <= strength < math.inf else _check_strength(strength),
        steer == "strict",
        exclude_history,
        unknown_items == "skip",
        where,
    )


def _check_k(k: SupportsIndex) -> int:
    try:
        if isinstance(k, bool):
            raise TypeError
        number = operator.index(k)
    except TypeError:
        raise QueryTypeError(f"k must be an int; got {k!r}") from None
    if number < 1:
        raise QueryError(f"k must be at least 1; got {number}")
    return number


def _check_strength(strength: float) -> float:
    try:
        if isinstance(strength, bool | str):
            raise TypeError
        number = float(strength)
    except (TypeError, ValueError):
        raise QueryTypeError(f"strength must be a number; got {strength!r}") from None
    if not math.isfinite(number) or number < 0:
        raise QueryError(f"strength must be finite and >= 0; got {number}")
    return number


def check_count(name: str, value: object, least: int) -> None:
    """Refuse a value that is not an int of at least `least`, by QueryError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise QueryError(f"{name} must be an int >= {least}; got {value!r}")


def one_list(value: object, what: str) -> Ids:
    """Return a collection of item ids as a list, refusing a bare string, which would fall into characters.

    A list or a tuple is returned as it is: a copy of a long one costs more than finding its rows, which is all that is
    done with it.
    """
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise QueryTypeError(f"{what} must be a collection of item ids; got {value!r}")
    return list(value)


def per_query_prompts(prompts: Turn | Sequence[Prompt | None] | None, count: int) -> list[Prompt | None]:
    """Return one prompt a query: a turn or None stands for all, a sequence has one for each.

    A sequence of turns is one prompt a query, never the turns of one; an entry may be a sequence of turns.

    Parameters
    ----------
    prompts : str, mapping, None or sequence
        What the caller gave.
    count : int
        Number of queries.

    Returns
    -------
    list of (turn, sequence of turns, or None)
        `count` prompts.

    Raises
    ------
    QueryError
        If it is neither, or of another length, or an entry is no prompt.
    """
    if prompts is None or isinstance(prompts, str | Mapping):
        return [prompts] * count
    if not isinstance(prompts, Iterable):
        raise QueryTypeError(
            f"prompts must be a turn, None or a sequence of prompts; got {type(prompts).__name__}"
        )
    listed = list(prompts)
    if len(listed) != count:
        raise QueryError(f"prompts must have one entry a history, {count}; got {len(listed)}")
    for prompt in listed:
        if prompt is not None:
            check_prompt_type(prompt)
    return listed


def per_query_excludes(exclude: Exclude, count: int) -> list[Ids]:
    """Return one list of ids a query. Ids stand for all queries; collections of ids are one for each.

    Parameters
    ----------
    exclude : iterable of str, or sequence of iterables of str
        What the caller gave.
    count : int
        Number of queries.

    Returns
    -------
    list of (list or tuple of str)
        `count` of them.

    Raises
    ------
    QueryError
        If ids and collections are mixed, or the number of collections is not `count`.
    """
    entries: list[object] = list(one_list(exclude, "exclude"))
    strings = sum(isinstance(entry, str) for entry in entries)
    if strings == len(entries):
        return [[str(entry) for entry in entries]] * count
    if strings:
        raise QueryTypeError(
            "exclude must hold item ids alone, or one collection of item ids a query; got both"
        )
    if len(entries) != count:
        raise QueryError(f"exclude must have one collection of item ids a query, {count}; got {len(entries)}")
    return [one_list(entry, f"exclude[{b}]") for b, entry in enumerate(entries)]


def list_queries(
    histories: Iterable[Iterable[str]],
    prompts: Turn | Sequence[Prompt | None] | None,
    exclude: Exclude,
    options: Options,
) -> list[QueryArguments]:
    """Return one query for each history; the parameters are those of `Recommender.query_batch`.

    Parameters
    ----------
    histories : iterable of iterable of str
        One history a query.
    prompts, exclude
        For all, or one for each.
    options : Options
        What all share.

    Returns
    -------
    list of QueryArguments
        One a history, in order.

    Raises
    ------
    QueryError
        If one of them is no such collection, or the number of prompts or collections is not that of the histories.
    """
    outer: list[object] = list(one_list(histories, "histories"))
    listed = [one_list(history, f"histories[{b}]") for b, history in enumerate(outer)]
    per_query = zip(
        listed,
        per_query_prompts(prompts, len(listed)),
        per_query_excludes(exclude, len(listed)),
        strict=True,
    )
    return [QueryArguments(history, prompt, excluded, options) for history, prompt, excluded in per_query]


def rows_of(ids: Ids, what: str, items: ItemTable, *, skip_unknown: bool) -> NDArray[np.int64]:
    """Map external item ids to rows.

    Parameters
    ----------
    ids : list or tuple of str
        The ids.
    what : str
        Name of the argument, for messages.
    items : ItemTable
        The items there are.
    skip_unknown : bool
        Pass over unknown ids rather than raise.

    Returns
    -------
    ndarray of int64, shape (n,)
        Rows in the order of the ids; repetitions stay.

    Raises
    ------
    QueryTypeError
        If an id is not a str.
    UnknownItemError
        If ids are unknown and not to be skipped.
    """
    if not ids:
        return _NO_ROWS
    rows = items.rows_of(ids)
    if rows is not None:
        return rows
    ids = list(ids)  # another thread may change it
    for position, item_id in enumerate(ids):
        if not isinstance(item_id, str):
            raise QueryTypeError(f"{what}[{position}] must be an item id, a str; got {item_id!r}")
    # Each id is looked up once: another thread may remove or add it meanwhile.
    found = [items.row_of.get(item_id) for item_id in ids]
    unknown = tuple(dict.fromkeys(i for i, row in zip(ids, found, strict=True) if row is None))
    if unknown and not skip_unknown:
        raise UnknownItemError(what, unknown, items.removed_ids)
    return np.array([row for row in found if row is not None], dtype=np.int64)
