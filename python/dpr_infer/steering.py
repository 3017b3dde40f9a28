# What a query stays away from, as the core takes it: a rule, vectors and gates of "away" experts.

from __future__ import annotations

from functools import lru_cache
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer._core import ScoreRule
from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.vector_arguments import float_array

NO_AWAY = ScoreRule(roles=[], biases=[], phi="relu")
_KEPT_RULES = 64

Experts = tuple[ScoreRule, NDArray[np.float32], NDArray[np.float32]]


def away_experts(
    away: ArrayLike,
    gates: ArrayLike | None,
    rule_of: tuple[str, SupportsFloat, ArrayLike | None],
    shape: tuple[int | None, int],
) -> Experts:
    """Return away vectors as experts.

    Parameters
    ----------
    away : array-like of float, shape (B, M, D); (M, D) for a single query
        Vectors to stay away from.
    gates : array-like of float, shape (B, M) or (M,), or None
        How much each counts; None for 1.
    rule_of : tuple of phi, gain and biases
        As `dpr_infer.Catalogue.search` takes them.
    shape : tuple of B and D
        Number of queries, None for a single one, and width of a vector.

    Returns
    -------
    rule : ScoreRule
        The rule of M experts; the same object for the same values.
    experts : ndarray of float32, shape (B, M, D)
        The vectors.
    gates : ndarray of float32, shape (B, M)
        Their weights.

    Raises
    ------
    QueryTypeError, QueryError
        If an argument is not as above, or the core takes no such rule.
    """
    n_queries, dim = shape
    batch = () if n_queries is None else (n_queries,)
    experts = float_array(away, "away", (*batch, None, dim))
    n_away = experts.shape[-2]
    weights = (
        np.ones((*batch, n_away), np.float32)
        if gates is None
        else float_array(gates, "gates", (*batch, n_away))
    )
    rule = _rule(*_checked_rule(*rule_of, n_away))
    if n_queries is None:
        return rule, experts[None], weights[None]
    return rule, experts, weights


def _checked_rule(
    phi: str, gain: SupportsFloat, biases: ArrayLike | None, n_away: int
) -> tuple[str, float, tuple[float, ...]]:
    if not isinstance(phi, str):
        raise QueryTypeError(f'phi must be "relu" or "softplus"; got {phi!r}')
    try:
        if isinstance(gain, bool | str):
            raise TypeError
        steepness = float(gain)
    except (TypeError, ValueError):
        raise QueryTypeError(f"gain must be a number; got {gain!r}") from None
    if biases is None:
        return phi, steepness, (0.0,) * n_away
    return phi, steepness, tuple(float_array(biases, "biases", (n_away,)).tolist())


@lru_cache(maxsize=_KEPT_RULES)
def _rule(phi: str, gain: float, biases: tuple[float, ...]) -> ScoreRule:
    try:
        return ScoreRule(roles=["away"] * len(biases), biases=list(biases), phi=phi, gain=gain)
    except ValueError as error:
        raise QueryError(str(error)) from error
