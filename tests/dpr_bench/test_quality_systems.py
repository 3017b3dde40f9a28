# Every system ranks as its name says, on scores small enough to sort in one's head.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_bench.quality.ranking import measure, top_tens
from dpr_bench.quality.systems import (
    System,
    additive,
    backbone,
    boost,
    exact_filter,
    filter_inside_top,
    matching,
    standardised,
    text_rerank,
    text_retrieval,
    understood_filter,
)
from hand_made_subject import hand_made, queries, read_as

# Tags: 0 comedy, 1 horror. Items 0 and 3 are comedies, 1 and 3 are horror films.
TAGS = [[1, 0], [0, 1], [0, 0], [1, 1], [0, 0]]
SCORES = [[1.0, 5.0, 4.0, 3.0, 2.0]]
SUBJECT = hand_made(SCORES, TAGS, histories=[[1]], targets=[3])
ALL = slice(0, 1)


def order(system: System, *, masked: bool = False) -> list[int]:
    """Rows of the whole ranking, the best first; what is left out is -1."""
    plain = SUBJECT.plain(np.array([0]))
    if masked:
        SUBJECT.mask(plain, np.array([0]))
    scores = system.score(ALL, plain)
    rows = torch.sort(-scores, stable=True).indices[0].tolist()
    return [row if scores[0, row] > float("-inf") else -1 for row in rows]


POSITIVE, NEGATIVE = queries("positive", [0], [0], [-1]), queries("negative", [0], [-1], [1])
COMPOUND = queries("compound", [0], [0], [1])


def test_matching_knows_both_wishes() -> None:
    tags = SUBJECT.items.tags
    assert np.flatnonzero(matching(tags, POSITIVE.asked, POSITIVE.refused)).tolist() == [0, 3]
    assert np.flatnonzero(matching(tags, NEGATIVE.asked, NEGATIVE.refused)).tolist() == [0, 2, 4]
    assert np.flatnonzero(matching(tags, COMPOUND.asked, COMPOUND.refused)).tolist() == [0]


def test_the_exact_filter_keeps_the_order_of_what_obeys() -> None:
    assert order(exact_filter(SUBJECT.items.tags, POSITIVE)) == [3, 0, -1, -1, -1]
    assert order(exact_filter(SUBJECT.items.tags, NEGATIVE)) == [2, 4, 0, -1, -1]


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1, 2, 3, 4, 0]), (3, [3, 1, 2, 4, 0]), (5, [3, 0, 1, 2, 4])]
)
def test_the_filter_inside_the_top_moves_nothing_below_it(k: int, expected: list[int]) -> None:
    assert order(filter_inside_top(SUBJECT.items.tags, POSITIVE, k)) == expected


def test_inside_the_top_counts_without_the_history() -> None:
    # Item 1 is of the history: the top two are 2 and 3, and 3 obeys.
    assert order(filter_inside_top(SUBJECT.items.tags, POSITIVE, 2), masked=True)[:2] == [3, 2]


def test_the_boost_is_in_standard_deviations() -> None:
    plain = SUBJECT.plain(np.array([0]))
    assert standardised(plain).std().item() == pytest.approx(1)
    assert order(boost(SUBJECT.items.tags, POSITIVE, 0.0)) == [1, 2, 3, 4, 0]
    assert order(boost(SUBJECT.items.tags, POSITIVE, 1.0)) == [1, 3, 2, 0, 4]  # one deviation is 1.58
    assert order(boost(SUBJECT.items.tags, COMPOUND, 100.0)) == [0, 2, 3, 4, 1]


def test_the_understood_filter_obeys_what_was_read_and_not_what_was_meant() -> None:
    nothing = read_as([[[0.49, 0], [0, 0.2]]])
    both = read_as([[[0.9, 0], [0.6, 0]]])
    refused = read_as([[[0, 0.1], [0, 0.5]]])
    assert order(understood_filter(SUBJECT, nothing)) == [1, 2, 3, 4, 0]
    assert order(understood_filter(SUBJECT, both)) == [3, -1, -1, -1, -1]
    assert order(understood_filter(SUBJECT, refused)) == [2, 4, 0, -1, -1]


def test_text_baselines() -> None:
    read = read_as([[[0.0, 0], [0, 0]]], [[0.5, 0.1, 0.2, 0.3, 0.9]])
    assert order(text_retrieval(SUBJECT, read)) == [4, 0, 3, 2, 1]
    assert order(text_rerank(SUBJECT, read)) == [4, 0, 3, 2, 1]  # all five are in the top 100
    assert order(additive(SUBJECT, read, 0.0)) == [1, 2, 3, 4, 0]
    assert order(additive(SUBJECT, read, 100.0)) == [4, 0, 3, 2, 1]
    assert order(additive(SUBJECT, read, -100.0)) == [1, 2, 3, 0, 4]


def test_ranks_with_and_without_the_history() -> None:
    found = measure(SUBJECT, POSITIVE, backbone())
    # 1, 2, 3 unmasked: the target is third; without item 1 it is second.
    assert found.unmasked.values["ndcg"] == pytest.approx([1 / np.log2(4)])
    assert found.masked.values["ndcg"] == pytest.approx([1 / np.log2(3)])
    assert found.masked.values["hr"].tolist() == [1.0]
    assert found.masked.values["precision"] == pytest.approx([2 / 4])
    assert found.unmasked.values["precision"] == pytest.approx([2 / 5])
    assert np.isnan(found.masked.values["violation"]).all()
    assert found.masked.shown.tolist() == [True, False, True, True, True]
    assert found.masked.values["popularity"] == pytest.approx([(0 + 0.5 + 0.75 + 1) / 4])


def test_a_target_that_is_filtered_out_is_a_miss() -> None:
    tags = [[0, 1]] + [[0, 0]] * 14
    subject = hand_made([[float(n) for n in range(15)]], tags, histories=[[3]], targets=[0])
    found = measure(subject, NEGATIVE, exact_filter(subject.items.tags, NEGATIVE))
    assert found.masked.values["ndcg"].tolist() == [0.0]
    assert found.masked.values["violation"].tolist() == [0.0]


def test_top_tens_leave_the_history_out() -> None:
    assert top_tens(SUBJECT, np.array([0]), backbone()).tolist() == [[2, 3, 4, 0, -1]]
