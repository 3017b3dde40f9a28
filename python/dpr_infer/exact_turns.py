# Reads exact turns, which name tags and roles instead of saying them: what a click on a wish means.

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import QueryError
from dpr_infer.prompt_reading import PromptReading, WishRule
from dpr_infer.prompt_text import Role


def exact_reading(
    turn: Mapping[str, Role], said: PromptReading | None, rule: WishRule, token: int
) -> PromptReading:
    """Return what an exact turn says: wishes of strength 1 about its tags, and none about any other.

    Parameters
    ----------
    turn : mapping of str to {"ask", "refuse", "release"}
        Roles by tag.
    said : PromptReading or None
        The reading of the same wishes as a text, whose tokens are what the experts see; None if nothing is asked
        for or refused.
    rule : WishRule
        Names of the bundle's tags, and what counts as a wish.
    token : int
        Width of a token vector.

    Returns
    -------
    PromptReading
        The reading; it has no token if the turn only releases.

    Raises
    ------
    QueryError
        If a tag is not of the bundle.
    """
    wish = np.zeros((len(rule.tags), 2), dtype=np.float32)
    released = np.zeros(len(rule.tags), dtype=np.float32)
    for tag, role in turn.items():
        g = _number(tag, rule.tags)
        if role == "release":
            released[g] = 1
        else:
            wish[g, int(role == "refuse")] = 1
    tokens: NDArray[np.float32] = np.empty((0, token), dtype=np.float32) if said is None else said.tokens
    return rule.reading(tokens, wish, released, truncated=said is not None and said.truncated)


def _number(tag: str, tags: tuple[str, ...]) -> int:
    try:
        return tags.index(tag)
    except ValueError:
        raise QueryError(
            f"prompt must name tags of the bundle's {len(tags)}, spelt as they are; {tag!r} is none"
        ) from None
