# What is asked: many different requests, made from real histories and a mix of prompts.
"""Requests for loading a server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["make_prompts", "make_requests", "write_bodies"]

_K = 10
_LONGEST, _SHORTEST = 50, 5  # of a history; the longest is what a backbone of the demonstration reads
_WITHOUT_PROMPT = 0.25
_DRAWS = 50  # for each request that is wanted; more means that there are not so many


def make_prompts(tags: Sequence[str], count: int = 64) -> list[str]:
    """Distinct prompts: wishes, refusals, and both in one sentence.

    Parameters
    ----------
    tags : sequence of str
        Names of the bundle's tags, at least two.
    count : int
        How many at most; few tags make fewer.
    """
    names = [tag.lower() for tag in tags]
    wishes = [f"something with {name}, please" for name in names]
    refusals = [f"no {name} tonight" for name in names]
    both = [
        f"{name}, but no {other}"
        for shift in range(1, len(names))
        for name, other in zip(names, names[shift:] + names[:shift], strict=True)
    ]
    return [*wishes, *refusals, *both][:count]


def make_requests(
    histories: Sequence[Sequence[str]], prompts: Sequence[str], count: int, *, seed: int = 0
) -> list[dict[str, Any]]:
    """Different bodies of ``POST /v1/recommend``.

    Histories are windows of 5 to 50 items of the given ones; a quarter of the requests has no prompt, the others share
    the prompts evenly.

    Parameters
    ----------
    histories : sequence of sequence of str
        Item ids, oldest first, each at least one.
    prompts : sequence of str
        Used in turn.
    count : int
        How many requests.
    seed : int
        Of what is drawn.

    Raises
    ------
    ValueError
        If histories and prompts do not make so many.
    """
    rng = np.random.default_rng(seed)
    requests: dict[str, dict[str, Any]] = {}
    prompted = 0
    for _ in range(_DRAWS * count):
        prompt = None if rng.random() < _WITHOUT_PROMPT else prompts[prompted % len(prompts)]
        request = {"history": _window(histories, rng), "prompt": prompt, "k": _K}
        if requests.setdefault(json.dumps(request), request) is request:
            prompted += prompt is not None
        if len(requests) == count:
            return list(requests.values())
    raise ValueError(f"the histories make only {len(requests)} different requests; expected {count}")


def _window(histories: Sequence[Sequence[str]], rng: np.random.Generator) -> list[str]:
    history = histories[int(rng.integers(len(histories)))]
    length = min(int(rng.integers(_SHORTEST, _LONGEST + 1)), len(history))
    end = int(rng.integers(length, len(history) + 1))
    return list(history[end - length : end])


def write_bodies(requests: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write requests as JSON, one a line, for wrk.lua; returns the path."""
    path.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    return path
