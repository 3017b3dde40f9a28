# What an int8 backbone does to the plain ranking, measured before a bundle is left with it.
"""An int8 backbone against float32 on a bundle's own histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpr_export.int8_loss import K, Loss, overlap, plain_and_int8
from dpr_export.sample_histories import sample_histories
from dpr_infer import Recommendation

__all__ = ["BackboneLoss", "measure_backbone_loss"]

_SEED = 21
_STEPS = 512  # most beginnings of examples
_HISTORIES = 64
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class BackboneLoss(Loss):
    """What was measured, without prompts; shares in [0, 1].

    Parameters
    ----------
    queries : int
        How many histories were asked for recommendations.
    overlap : float
        Mean share of the ten best items that both have in common, when histories are read one by one.
    overlap_in_batches : float
        The same with int8 in batches of 64: activations share a scale there, so a user's vector depends on the others.
    next_items : int
        How many of the histories are beginnings of examples, whose next item is known.
    ndcg : (float, float)
        Of that next item, at 10, among all items but the history's: float32, int8.
    """

    part: ClassVar[str] = "backbone"
    way_out: ClassVar[str] = "--backbone fp32"

    queries: int
    overlap: float
    overlap_in_batches: float
    next_items: int
    ndcg: tuple[float, float]

    @property
    def measured_on(self) -> str:
        """What was asked."""
        return f"{self.queries} histories"

    @property
    def losses(self) -> dict[str, float]:
        """What the limit is about, by name; a gain is negative."""
        before, after = self.ndcg
        return {
            "top 10 changed": 1 - self.overlap,
            "top 10 changed in batches": 1 - self.overlap_in_batches,
            "share of NDCG@10 lost": (before - after) / before if before else 0.0,
        }


def measure_backbone_loss(folder: Path, plain_folder: Path) -> BackboneLoss:
    """Compare a bundle with itself, its backbone in float32.

    Asked are beginnings of the bundle's examples, evenly chosen, and what :func:`sample_histories` draws.

    Parameters
    ----------
    folder : Path
        A whole bundle whose backbone is quantised.
    plain_folder : Path
        Holds the graph that it was made from, under the same name.
    """
    plain, int8 = plain_and_int8(folder, plain_folder, "backbone")
    steps = [
        (list(history[:n]), history[n]) for history in plain.examples.values() for n in range(1, len(history))
    ]
    steps = [steps[i] for i in np.linspace(0, len(steps) - 1, min(len(steps), _STEPS), dtype=int)]
    histories = [history for history, _ in steps]
    histories += sample_histories(plain, _HISTORIES, seed=_SEED)[0]
    exact = plain.query_batch(histories, k=K)
    alone = [int8.query(history, k=K) for history in histories]
    in_batches = list(exact)
    calls = -(-len(histories) // _BATCH)
    for call in range(calls):  # every so-manieth, so that users and lengths mix
        in_batches[call::calls] = int8.query_batch(histories[call::calls], k=K)
    wanted = [item for _, item in steps]
    return BackboneLoss(
        queries=len(histories),
        overlap=overlap(exact, alone),
        overlap_in_batches=overlap(exact, in_batches),
        next_items=len(steps),
        ndcg=(_ndcg(exact, wanted), _ndcg(alone, wanted)),
    )


def _ndcg(answers: Sequence[Recommendation], wanted: Sequence[str]) -> float:
    """Mean NDCG at the answers' length, each with one item that was wanted; answers beyond those are not read."""
    gains = [
        1 / np.log2(2 + answer.items.index(item)) if item in answer.items else 0.0
        for answer, item in zip(answers, wanted, strict=False)
    ]
    return float(np.mean(gains)) if gains else 0.0
