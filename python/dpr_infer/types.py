# What a query returns.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Wish:
    """How much a prompt asks for a tag, and how much it refuses it.

    Attributes
    ----------
    tag : str
        Name of the tag, as the bundle spells it.
    asked, refused : float
        Strengths in [0, 1], as the prompt encoder understood them.
    """

    tag: str
    asked: float
    refused: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer to one query. Sequences have the same length n <= k and run from the best item on.

    Attributes
    ----------
    items : list of str
        External item ids.
    titles : list of str
        Titles of the items.
    tags : list of list of str
        Tags of the items.
    rows : ndarray of int64, shape (n,)
        The items' row numbers in the catalogue.
    scores : ndarray of float32, shape (n,)
        Scores, falling; equal scores are ordered by rising row.
    wishes : tuple of Wish
        What the prompt was understood to ask for or refuse, strongest first: the tags of which one of both
        strengths reaches the bundle's wish threshold. Of turns, what stands after the last. Empty without a
        prompt.
    gates : mapping of str to float
        How much each expert had to say, by name; 0 for an expert that took no part.
    prompt_truncated : bool
        Whether the prompt had more tokens than the bundle takes; the first were read. Of turns, the first of
        each one and the newest of all.
    history_truncated : bool
        Whether the history had more items than the bundle takes; the newest were read.
    history_unread : int
        How many entries of the history the backbone cannot read, because the item was added to the recommender
        after training. Such an item is left out of the answer like any other of the history.
    prompt_cached : bool
        Whether the prompt encoder was spared because this very text, or that of each turn, was read before.
    timings_ms : dict of str to float, or None
        Milliseconds spent on tokenise, encode_prompt, encode_history, fuse, score and total, if asked for. In
        a batch the steps are shared, so every answer carries the times of the whole batch.
    """

    items: list[str]
    titles: list[str]
    tags: list[list[str]]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    wishes: tuple[Wish, ...]
    gates: Mapping[str, float]
    prompt_truncated: bool
    history_truncated: bool
    history_unread: int
    prompt_cached: bool
    timings_ms: dict[str, float] | None


# The same attributes, which may be set.
_Draft: Any = make_dataclass("_Draft", [field.name for field in fields(Recommendation)], slots=True)


def make_recommendation(
    items: list[str],
    titles: list[str],
    tags: list[list[str]],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    wishes: tuple[Wish, ...],
    gates: Mapping[str, float],
    prompt_truncated: bool,
    history_truncated: bool,
    history_unread: int,
    prompt_cached: bool,
    timings_ms: dict[str, float] | None,
) -> Recommendation:
    """Return `Recommendation` of these attributes, which every query waits for.

    A frozen dataclass sets its attributes one by one past itself, which takes 4.6 us (Zen 1) for these; a draft that
    then becomes an answer takes 0.9.
    """
    answer: Recommendation = _Draft(
        items,
        titles,
        tags,
        rows,
        scores,
        wishes,
        gates,
        prompt_truncated,
        history_truncated,
        history_unread,
        prompt_cached,
        timings_ms,
    )
    answer.__class__ = Recommendation
    return answer


@dataclass(frozen=True, slots=True)
class CarriedChanges:
    """What `Recommender.reload` did again to the items of the new bundle, by id.

    Attributes
    ----------
    removed : tuple of str
        Items of the new bundle that were removed, because they had been.
    unavailable : tuple of str
        Items that were switched off, because they had been.
    added : tuple of str
        Items that were added, because they had been and the new bundle does not have them.
    lost : tuple of str
        Items that had been added and have no place in the new bundle: they were given by vectors, which say nothing
        to other graphs, or have a tag that the new bundle does not have. They are unknown from now on.
    """

    removed: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
