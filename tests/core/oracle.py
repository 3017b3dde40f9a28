# An independent NumPy statement of the canonical arithmetic and of the order of results, and random queries.
from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import Catalogue, ScoreRule

Floats = NDArray[np.float32]

LANES = 16


def fma32(a: Floats, b: Floats, c: Floats) -> Floats:
    """Return a * b + c rounded to float32 once.

    The product of two float32 is exact in float64. Its sum with c is rounded to odd, from its error term, and
    rounding that to the nearest float32 is then the correct rounding of the exact value (53 bits >= 24 + 2).
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = c.astype(np.float64)
    total = product + addend
    back = total - product
    error = (product - (total - back)) + (addend - back)
    is_even = (total.view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where((error != 0) & is_even, odd, total).astype(np.float32)


def canonical_dot(query: Floats, rows: Floats) -> Floats:
    """Return <query, row> of each row, shapes (D,) and (N, D), by lanes and folds."""
    padding = -query.size % LANES
    padded_query = np.pad(query, (0, padding)).reshape(-1, LANES)
    padded_rows = np.pad(rows, ((0, 0), (0, padding))).reshape(len(rows), -1, LANES)
    lanes = np.zeros((len(rows), LANES), np.float32)
    for step, part in enumerate(padded_query):
        lanes = fma32(np.broadcast_to(part, lanes.shape), padded_rows[:, step], lanes)
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half : 2 * half]
    return lanes[:, 0]


@dataclasses.dataclass(frozen=True)
class Queries:
    """B queries with E experts over D dimensions, and the rule that scores them."""

    user: Floats  # (B, dc)
    experts: Floats  # (B, E, D)
    gates: Floats  # (B, E)
    strength: Floats  # (B,)
    rule: ScoreRule

    def reference(self, catalogue: Catalogue) -> Floats:
        return catalogue.reference_scores(
            self.user, self.experts, self.gates, rule=self.rule, strength=self.strength
        )

    def search(self, catalogue: Catalogue, k: int, **filters: object) -> tuple[NDArray[np.int64], Floats]:
        return catalogue.search(
            self.user, self.experts, self.gates, rule=self.rule, strength=self.strength, k=k, **filters
        )

    def only(self, query: int) -> Queries:
        """Return the batch of one that holds `query`."""
        one = slice(query, query + 1)
        return dataclasses.replace(
            self,
            user=self.user[one],
            experts=self.experts[one],
            gates=self.gates[one],
            strength=self.strength[one],
        )


def score_relu(queries: Queries, query: int, vectors: Floats) -> Floats:
    """Return the canonical scores (N,) of one query, for phi = relu."""
    rule, dim = queries.rule, vectors.shape[1]
    q = np.zeros(dim, np.float32)
    q[: queries.user.shape[1]] = queries.user[query]
    strength, gates = queries.strength[query], queries.gates[query]
    active = [e for e in range(rule.n_experts) if gates[e] != 0 and strength != 0]
    toward = [e for e in active if rule.roles[e] == "toward"]
    away = [e for e in active if rule.roles[e] == "away"]
    if toward:
        total = np.zeros(dim, np.float32)
        for e in toward:
            total = fma32(np.full(dim, gates[e]), queries.experts[query, e], total)
        q = fma32(np.full(dim, strength), total, q)
    scores = canonical_dot(q, vectors)
    if not away:
        return scores
    penalty = np.zeros(len(vectors), np.float32)
    for e in away:
        x = canonical_dot(queries.experts[query, e], vectors) + np.float32(rule.biases[e])
        penalty = penalty + gates[e] * np.maximum(x, np.float32(0))
    return scores - strength * penalty


def rank(
    scores: Floats, k: int, allowed: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], Floats]:
    """Return the rows (k,) and scores (k,) of the best allowed items, padded with -1 and -inf."""
    rows = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    ordered = rows[np.lexsort((rows, -scores[rows]))][:k]
    padding = (0, k - len(ordered))
    return (
        np.pad(ordered, padding, constant_values=-1),
        np.pad(scores[ordered], padding, constant_values=-np.inf),
    )


def assert_same_results(
    got: tuple[NDArray[np.int64], Floats], expected: list[tuple[NDArray[np.int64], Floats]]
) -> None:
    """Compare a batch's rows and the bits of its scores with one expected pair for each query."""
    rows, scores = got
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(rows, np.stack([pair[0] for pair in expected]))
    np.testing.assert_array_equal(
        scores.view(np.int32), np.stack([pair[1] for pair in expected]).view(np.int32)
    )


def random_rule(
    rng: np.random.Generator, n_toward: int, n_away: int, phi: str, gain: float = 3.0
) -> ScoreRule:
    """Return a rule with the two roles shuffled and random biases of the away experts."""
    roles = ["toward"] * n_toward + ["away"] * n_away
    rng.shuffle(roles)
    biases = [0.0 if role == "toward" else float(rng.normal()) for role in roles]
    return ScoreRule(roles=roles, biases=biases, phi=phi, gain=gain)


def random_queries(
    rng: np.random.Generator, n_queries: int, dim: int, rule: ScoreRule, *, user_dim: int | None = None
) -> Queries:
    """Return normal vectors; of the gates and strengths about a quarter is exactly 0."""
    n_experts = rule.n_experts

    def weights(*shape: int) -> Floats:
        values = np.abs(rng.normal(size=shape)) * (rng.random(shape) < 0.75)
        return values.astype(np.float32)

    return Queries(
        user=rng.normal(size=(n_queries, dim if user_dim is None else user_dim)).astype(np.float32),
        experts=rng.normal(size=(n_queries, n_experts, dim)).astype(np.float32),
        gates=weights(n_queries, n_experts),
        strength=weights(n_queries),
        rule=rule,
    )


def plain_queries(user: Floats) -> Queries:
    """Return queries without experts: the score is the dot product."""
    n_queries, dim = user.shape
    return Queries(
        user=user,
        experts=np.zeros((n_queries, 0, dim), np.float32),
        gates=np.zeros((n_queries, 0), np.float32),
        strength=np.ones(n_queries, np.float32),
        rule=ScoreRule(roles=[], biases=[], phi="relu"),
    )
