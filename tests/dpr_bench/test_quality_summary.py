# Means over seeds, and differences of the same users: by hand.

from __future__ import annotations

import numpy as np
import pytest

from dpr_bench.quality.comparison import Comparison, RowKey
from dpr_bench.quality.ranking import METRICS, Measured, Outcome
from dpr_bench.quality.summary import find_row, mean_over_seeds, summarise


def measured(ndcg: list[float], users: list[int] | None = None) -> Measured:
    gains = np.array(ndcg)
    values = {name: np.full(len(ndcg), np.nan if name == "violation" else 0.5) for name in METRICS}
    outcome = Outcome(values | {"ndcg": gains}, np.array([True, False]))
    return Measured(np.array(users or range(len(ndcg))), outcome, outcome)


FILTER, OURS = (
    RowKey("positive", "hard", name, wording) for name, wording in (("exact filter", "-"), ("ours", "seen"))
)


def seed(reference: list[float], ours: list[float], families: tuple[str, ...]) -> Comparison:
    rows = {FILTER: measured(reference), OURS: measured(ours)}
    return Comparison(rows, {("positive", "hard", "seen"): families})


def test_rows_are_means_over_seeds_against_the_reference() -> None:
    rows = summarise(
        [
            seed([0.2, 0.4, 0.6], [0.3, 0.5, 0.7], ("a", "a", "b")),
            seed([0.2, 0.4, 0.6], [0.5, 0.7, 0.9], ("c", "b", "b")),
        ]
    )
    reference, ours = rows
    assert reference["masked"]["ndcg"] == pytest.approx(0.4)
    assert "versus" not in reference["masked"]
    assert ours["masked"]["ndcg"] == pytest.approx(0.6)
    assert ours["masked"]["ndcg_by_seed"] == pytest.approx([0.5, 0.7])
    assert ours["masked"]["ndcg_spread"] == pytest.approx(0.2 / np.sqrt(2))
    assert ours["masked"]["violation"] is None
    assert ours["masked"]["coverage"] == 0.5
    versus = ours["masked"]["versus"]
    assert versus["reference"] == "exact filter"
    assert versus["difference"]["mean"] == pytest.approx(0.2)
    assert versus["difference"]["low"] == pytest.approx(0.2, abs=1e-6)  # every user gained as much
    assert versus["percent"]["mean"] == pytest.approx(50)
    assert ours["masked"]["versus_by_family"]["families"] == 3
    assert find_row(rows, "positive", "ours", "seen") is ours
    assert find_row(rows, "positive", "ours", "unseen words") is None


def test_other_users_cannot_be_averaged() -> None:
    first = seed([0.1, 0.2], [0.1, 0.2], ("a", "b"))
    second = Comparison({key: measured([0.1, 0.2], [0, 5]) for key in first.rows}, first.families)
    with pytest.raises(ValueError, match="share users"):
        summarise([first, second])


def test_documents_are_averaged_number_by_number() -> None:
    assert mean_over_seeds([{"a": 1, "b": ["x", 2.0], "c": None}, {"a": 2, "b": ["x", 4.0], "c": None}]) == {
        "a": 1.5,
        "b": ["x", 3.0],
        "c": None,
    }
