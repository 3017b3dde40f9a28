# Work that needs a minute or more each, in forked processes: what they share is not copied.
"""Call a function on several values at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

__all__ = ["side_by_side"]

T = TypeVar("T")

_call: Callable[[Any], Any] | None = None  # what the forked processes find; a closure can't be sent to them


def side_by_side(function: Callable[[Any], T], values: Sequence[Any], workers: int) -> list[T]:
    """Results of ``function``, in the order of ``values``; an error in one of the processes is raised here.

    Parameters
    ----------
    function : callable
        Its results are sent back, so they must be picklable.
    values : sequence
        One argument a call.
    workers : int
        Calls at the same time; with 1 nothing is forked.
    """
    if workers == 1 or len(values) == 1:
        return [function(value) for value in values]
    global _call
    _call = function
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_run, values))
    finally:
        _call = None


def _run(value: Any) -> Any:
    assert _call is not None
    return _call(value)
