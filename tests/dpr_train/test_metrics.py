# Ranks against a plain sort, metrics against an independent library.

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import Success, nDCG

from dpr_train.evaluate import hit_rate, ndcg, target_rank, top_rows
from dpr_train.metrics import mask_items

INF = float("inf")


def naive_order(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda row: (-scores[row], row))


# Few different values, so that ties abound.
rankings = st.lists(st.sampled_from([-INF, -1.0, -0.0, 0.0, 0.5, 2.0]), min_size=1, max_size=15)


@given(scores=rankings, data=st.data())
def test_target_rank_is_the_place_in_a_plain_sort(scores: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(scores) - 1))
    expected = len(scores) if scores[target] == -INF else naive_order(scores).index(target)
    assert target_rank(torch.tensor([scores]), torch.tensor([target])).tolist() == [expected]


@given(scores=rankings, data=st.data())
def test_top_rows_are_the_head_of_a_plain_sort(scores: list[float], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(scores)))
    expected = [row if scores[row] > -INF else -1 for row in naive_order(scores)[:k]]
    assert top_rows(torch.tensor([scores]), k).tolist() == [expected]


def test_ranks_of_a_batch_are_those_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(5)
    scores = torch.randint(0, 6, (20, 30), generator=generator).float()
    targets = torch.randint(0, 30, (20,), generator=generator)
    one_by_one = [target_rank(scores[i : i + 1], targets[i : i + 1]).item() for i in range(20)]
    assert target_rank(scores, targets).tolist() == one_by_one


def test_masked_items_come_last_and_a_masked_target_is_never_a_hit() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0], [1.0, 2.0, 3.0]])
    mask_items(scores, [np.array([0, 1]), np.array([], dtype=np.int64)])
    assert scores.tolist() == [[-INF, -INF, 3.0], [1.0, 2.0, 3.0]]
    assert target_rank(scores, torch.tensor([0, 2])).tolist() == [3, 0]
    assert top_rows(scores, 3).tolist() == [[2, -1, -1], [2, 1, 0]]
    # Also in a catalogue smaller than k.
    assert hit_rate(np.array([3]), k=3).tolist() == [0.0]


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_agree_with_ir_measures(k: int) -> None:
    rng = np.random.default_rng(11)
    scores = torch.from_numpy(rng.integers(0, 25, (60, 40)).astype(np.float32))
    targets = torch.from_numpy(rng.integers(0, 40, 60))
    rank = target_rank(scores, targets).numpy()
    qrels, run = [], []
    for query, (line, target) in enumerate(zip(scores.tolist(), targets.tolist(), strict=True)):
        qrels.append(ir_measures.Qrel(str(query), str(target), 1))
        # The library breaks ties its own way, so it is given the order and not the scores.
        run += [
            ir_measures.ScoredDoc(str(query), str(row), float(-place))
            for place, row in enumerate(naive_order(line))
        ]
    expected: dict[str, dict[str, float]] = {}
    for metric in ir_measures.iter_calc([nDCG @ k, Success @ k], qrels, run):
        expected.setdefault(str(metric.measure), {})[metric.query_id] = metric.value
    queries = [str(query) for query in range(60)]
    np.testing.assert_allclose(ndcg(rank, k), [expected[f"nDCG@{k}"][q] for q in queries], atol=1e-12)
    np.testing.assert_array_equal(hit_rate(rank, k), [expected[f"Success@{k}"][q] for q in queries])
    assert 0 < hit_rate(rank, k).mean() < 1
