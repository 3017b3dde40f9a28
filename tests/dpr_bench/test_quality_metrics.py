# Metrics of the top ten by hand, and the quick top ten against a full stable sort.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_bench.quality.metrics import best_rows, diversity, popularity_percentiles, share_carrying
from dpr_train.metrics import top_rows

TAGS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)


@pytest.mark.parametrize("items", [5, 40, 300])
def test_the_quick_top_is_that_of_a_stable_sort(items: int) -> None:
    torch.manual_seed(items)
    scores = torch.randint(0, 50, (20, items)).float()  # many ties
    scores[3] = float("-inf")
    scores[4, 2:] = float("-inf")
    assert best_rows(scores, 10).tolist() == top_rows(scores, 10).tolist()


def test_share_carrying_counts_what_was_returned() -> None:
    top = np.array([[0, 1, 2], [2, -1, -1], [-1, -1, -1]])
    marked = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 1, 1]], dtype=bool)
    assert share_carrying(top, marked).tolist() == [pytest.approx(2 / 3), 1.0, 0.0]


def test_popularity_counts_ties_half() -> None:
    history = [np.array([0, 1, 1]), np.array([1, 2])]
    # Counts 1, 3, 1, 0: the two of 1 stand above one item of four, and share their own half.
    assert popularity_percentiles(history, 4).tolist() == [0.5, 0.875, 0.5, 0.125]


def test_diversity_is_one_minus_mean_jaccard() -> None:
    # Items 0 and 1 share one of two tags; item 2 shares none: (0.5 + 0 + 0) / 3.
    top = np.array([[0, 1, 2], [0, 1, -1], [2, -1, -1]])
    assert diversity(top, TAGS) == pytest.approx([1 - 0.5 / 3, 0.5, 0.0])


def test_items_without_tags_have_nothing_in_common() -> None:
    assert diversity(np.array([[3, 3, 0]]), TAGS) == pytest.approx([1.0])
