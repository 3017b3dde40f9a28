# From what each checkpoint gave, query by query, to the rows of the tables: means over seeds, intervals, differences.
"""Summarise the comparison over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_bench.quality.comparison import Comparison, RowKey
from dpr_bench.quality.ranking import METRICS, Measured, Outcome
from dpr_bench.quality.statistics import mean_interval, paired_by_cluster, paired_difference

__all__ = ["REFERENCES", "Row", "find_row", "mean_over_seeds", "summarise"]

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

# What a task's systems are held against.
REFERENCES = {
    "standard": "backbone",
    "positive": "exact filter",
    "negative": "exact filter",
    "compound": "exact filter",
}


def summarise(seeds: Sequence[Comparison]) -> list[Row]:
    """The rows of the tables, plain values for JSON.

    Parameters
    ----------
    seeds : sequence of Comparison
        One a checkpoint, of the same users.

    Returns
    -------
    list of dict
        In order: task, choice, system, wording, queries, and by masking the means with their intervals, the spread over
        seeds, and the difference to the task's reference on the same queries.

    Raises
    ------
    ValueError
        If the checkpoints do not have the same rows of the same users.
    """
    rows = []
    for key, first in seeds[0].rows.items():
        if any(key not in s.rows or not np.array_equal(s.rows[key].users, first.users) for s in seeds):
            raise ValueError(f"checkpoints must share users and tasks; {key} differs between them")
        reference = RowKey(key.task, key.choice, REFERENCES[key.task], "-")
        row: Row = {**asdict(key), "queries": len(first.users), "seeds": len(seeds)}
        for masking in ("masked", "unmasked"):
            own = [_outcome(s.rows[key], masking) for s in seeds]
            other = [_outcome(s.rows[reference], masking) for s in seeds]
            row[masking] = _means(own)
            if key != reference:
                row[masking]["versus"] = {
                    "reference": reference.system,
                    **asdict(paired_difference(_gain(own), _gain(other))),
                }
        _add_families(row, key, reference, seeds)
        rows.append(row)
    return rows


def find_row(
    rows: Sequence[Row], task: str, system: str, wording: str = "-", choice: str = "hard"
) -> Row | None:
    """The row of these names, or None."""
    wanted = {"task": task, "system": system, "wording": wording, "choice": choice}
    return next((row for row in rows if wanted.items() <= row.items()), None)


def mean_over_seeds(documents: Sequence[Any]) -> Any:
    """Average documents of the same form, number by number; what is no number is taken from the first.

    Examples
    --------
    >>> mean_over_seeds([{"a": 1, "b": ["x", 2.0]}, {"a": 2, "b": ["x", 4.0]}])
    {'a': 1.5, 'b': ['x', 3.0]}
    """
    first = documents[0]
    if isinstance(first, dict):
        return {key: mean_over_seeds([document[key] for document in documents]) for key in first}
    if isinstance(first, list):
        return [mean_over_seeds(entries) for entries in zip(*documents, strict=True)]
    if isinstance(first, bool) or not isinstance(first, int | float):
        return first
    return sum(documents) / len(documents)


def _outcome(measured: Measured, masking: str) -> Outcome:
    return measured.masked if masking == "masked" else measured.unmasked


def _gain(outcomes: Sequence[Outcome]) -> FloatArray:
    gain: FloatArray = np.mean([o.values["ndcg"] for o in outcomes], axis=0)
    return gain


def _means(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    means: dict[str, Any] = {"ndcg_interval": asdict(mean_interval(_gain(outcomes)))}
    for name in METRICS:
        values = np.mean([o.values[name] for o in outcomes], axis=0)
        means[name] = None if np.isnan(values).any() else float(values.mean())
    means["coverage"] = float(np.mean([o.shown.mean() for o in outcomes]))
    by_seed = [float(o.values["ndcg"].mean()) for o in outcomes]
    means["ndcg_by_seed"] = by_seed
    means["ndcg_spread"] = float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else None
    return means


def _add_families(row: Row, key: RowKey, reference: RowKey, seeds: Sequence[Comparison]) -> None:
    """The interval of the difference if idioms are drawn instead of users; every seed has its own prompts."""
    if (key.task, key.choice, key.wording) not in seeds[0].families:
        return
    own = np.concatenate([s.rows[key].masked.values["ndcg"] for s in seeds])
    other = np.concatenate([s.rows[reference].masked.values["ndcg"] for s in seeds])
    families = [f for s in seeds for f in s.families[key.task, key.choice, key.wording]]
    row["masked"]["versus_by_family"] = {
        "families": len(set(families)),
        **asdict(paired_by_cluster(own, other, families)),
    }
