# A catalogue in plain Python, as an oracle: a list of rows, and what holds for each. Scores are those of the core's
# scalar reference over all vectors there ever were, bit for bit.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import oracle
from dpr_infer import _core

TAGS = ("war", "comedy", "film noir")

# Tag expressions, and what they mean.
EXPRESSIONS: dict[str | None, Callable[[frozenset[str]], bool]] = {
    None: lambda tags: True,
    " ": lambda tags: True,
    "war": lambda tags: "war" in tags,
    "!WAR & comedy": lambda tags: "war" not in tags and "comedy" in tags,
    'war | "film noir"': lambda tags: bool(tags & {"war", "film noir"}),
    '(war | comedy) & !("film noir" & comedy)': lambda tags: (
        bool(tags & {"war", "comedy"}) and not {"film noir", "comedy"} <= tags
    ),
    "war & !war": lambda tags: False,
}


def random_vectors(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Return normal vectors, or small integers, which make many ties."""
    if rng.random() < 0.5:
        return rng.integers(-2, 3, (n, dim)).astype(np.float32)
    return rng.normal(size=(n, dim)).astype(np.float32)


def random_tags(rng: np.random.Generator, n: int) -> list[frozenset[str]]:
    return [frozenset(name for name in TAGS if rng.random() < 0.4) for _ in range(n)]


class Model:
    """Rows with vectors, tags, and whether they are removed or switched off."""

    def __init__(self, vectors: NDArray[np.float32], tags: Sequence[frozenset[str]]) -> None:
        self.vectors = vectors
        self.tags = list(tags)
        self.removed: set[int] = set()
        self.off: set[int] = set()

    @property
    def items(self) -> list[int]:
        return [row for row in range(len(self.vectors)) if row not in self.removed]

    def add(self, vectors: NDArray[np.float32], tags: Sequence[frozenset[str]]) -> list[int]:
        first = len(self.vectors)
        self.vectors = np.concatenate([self.vectors, vectors])
        self.tags.extend(tags)
        return list(range(first, first + len(vectors)))

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        *,
        away: NDArray[np.float32] | None = None,
        gates: NDArray[np.float32] | None = None,
        phi: str = "relu",
        gain: float = 1.0,
        biases: Sequence[float] | None = None,
        where: Sequence[str | None] | None = None,
        exclude: Sequence[Any] | None = None,
        allow: Sequence[Any] | None = None,
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return rows and scores of each query; `where`, `exclude` and `allow` have one entry a query."""
        scores = self._scores(queries, away, gates, phi, gain, biases)
        results = []
        for b in range(len(queries)):
            passes = EXPRESSIONS[None if where is None else where[b]]
            allowed = np.array(
                [
                    row not in self.removed
                    and row not in self.off
                    and passes(self.tags[row])
                    and (exclude is None or row not in exclude[b])
                    and (allow is None or row in allow[b])
                    for row in range(len(self.vectors))
                ]
            )
            results.append(oracle.rank(scores[b], k, allowed))
        return results

    def _scores(
        self,
        queries: NDArray[np.float32],
        away: NDArray[np.float32] | None,
        gates: NDArray[np.float32] | None,
        phi: str,
        gain: float,
        biases: Sequence[float] | None,
    ) -> NDArray[np.float32]:
        n_queries, dim = queries.shape
        experts = np.zeros((n_queries, 0, dim), np.float32) if away is None else away
        n_away = experts.shape[1]
        rule = _core.ScoreRule(
            roles=["away"] * n_away,
            biases=[0.0] * n_away if biases is None else list(biases),
            phi=phi,
            gain=gain,
        )
        weights = np.ones((n_queries, n_away), np.float32) if gates is None else gates
        return _core.Catalogue(self.vectors).reference_scores(
            queries, experts, weights, rule=rule, strength=np.ones(n_queries, np.float32)
        )
