# Before anything is timed: do all contenders answer the same?
"""Compare what contenders recommend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dpr_bench.latency.contenders import OURS
from dpr_bench.latency.ours import OurPipeline
from dpr_bench.latency.pipeline import F32, Pipeline, Rows
from dpr_bench.latency.questions import Batch

__all__ = ["Agreement", "K", "compare_answers"]

K = 10
_MORE = 10  # items beyond the top k whose scores are looked at
# Float32 engines differ in the order of their sums. Two scores so close to each other may change places.
_CLOSE = 1e-4
_MOST_UNEXPLAINED = 0.01  # a gate that opens at a threshold, opened by rounding


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far one contender's top k are dpr-infer's.

    Attributes
    ----------
    pipeline : str
        The contender.
    queries : int
        How many were compared.
    same : float
        Share of the queries with the same k items.
    shared : float
        Mean share of the k items.
    unexplained : float
        Share of the queries with other items whose scores are not within rounding of the k-th.
    """

    pipeline: str
    queries: int
    same: float
    shared: float
    unexplained: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare_answers(
    pipelines: Mapping[str, Pipeline], exact: Sequence[str], batches: Sequence[Batch]
) -> list[Agreement]:
    """Ask all contenders the same.

    Parameters
    ----------
    pipelines : mapping of str to Pipeline
        By name; dpr-infer, `OURS`, is among them.
    exact : sequence of str
        Those that must find the same items.
    batches : sequence of Batch
        The queries, of any batch size.

    Returns
    -------
    list of Agreement
        One a contender but dpr-infer.

    Raises
    ------
    ValueError
        If one that must does not.
    """
    ours = pipelines[OURS]
    assert isinstance(ours, OurPipeline)
    reference = [
        ours.recommender.search_arrays(histories, prompts, K + _MORE) for histories, prompts in batches
    ]
    results = []
    for name, pipeline in pipelines.items():
        if name == OURS:
            continue
        found = [pipeline.search(histories, prompts, K) for histories, prompts in batches]
        result = _agreement(name, reference, found)
        if name in exact and result.unexplained > _MOST_UNEXPLAINED:
            raise ValueError(
                f"{name} and {OURS} must recommend the same items; {result.unexplained:.1%} of "
                f"{result.queries} queries differ by more than rounding"
            )
        results.append(result)
    return results


def _agreement(name: str, reference: Sequence[tuple[Rows, F32]], found: Sequence[Rows]) -> Agreement:
    shared, explained = [], []
    for (rows, scores), theirs in zip(reference, found, strict=True):
        for query in range(len(rows)):
            ours, others = rows[query, :K], theirs[query]
            shared.append(len(np.intersect1d(ours, others)) / K)
            explained.append(_within_rounding(rows[query], scores[query], others))
    return Agreement(
        pipeline=name,
        queries=len(shared),
        same=float(np.mean(np.array(shared) == 1)),
        shared=float(np.mean(shared)),
        unexplained=1 - float(np.mean(explained)),
    )


def _within_rounding(rows: Rows, scores: F32, theirs: Rows) -> bool:
    """Whether all items that are not ours score as our k-th does, up to rounding."""
    room = _CLOSE * float(np.abs(scores[np.isfinite(scores)]).max(initial=1.0))
    score_of = dict(zip(rows.tolist(), scores.tolist(), strict=True))
    return all(score_of.get(row, -np.inf) >= scores[K - 1] - room for row in theirs.tolist())
