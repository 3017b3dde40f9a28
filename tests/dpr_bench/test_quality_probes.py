# Cold items and the language model's sample, on arrays by hand.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_bench.kernel_progress import Silence
from dpr_bench.quality.cold_items import choose_cold, ridge
from dpr_bench.quality.language_sample import SHOWN, language_system
from hand_made_subject import hand_made


def test_ridge_finds_a_linear_rule_and_shrinks_with_the_penalty() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x @ np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]) + np.array([5.0, -2.0])
    new = rng.normal(size=(4, 3))
    assert ridge(x, y, 1e-9)(new) == pytest.approx(
        new @ np.array([[1.0, 0.0], [2.0, -1.0], [0.0, 3.0]]) + [5.0, -2.0]
    )
    assert ridge(x, y, 1e9)(new) == pytest.approx(np.tile(y.mean(0), (4, 1)), abs=1e-3)


def test_cold_items_are_a_tenth_and_not_the_popular_ones() -> None:
    popularity = np.linspace(0, 1, 100)
    cold = choose_cold(popularity, np.random.default_rng(0))
    assert len(set(cold)) == 10
    assert popularity[cold].max() <= 0.8


def test_the_language_model_orders_what_it_is_shown_and_nothing_else() -> None:
    n_items = SHOWN + 10
    scores = [[float(n_items - n) for n in range(n_items)]]
    subject = hand_made(scores, [[1]] * n_items, histories=[[0]], targets=[5])
    shown: list[list[str]] = []

    def rerank(prompt: str, titles: list[str]) -> list[int]:
        assert prompt == "something funny"
        shown.append(titles)
        return [3, 1, 1, 99, -4]  # the rest is left out, one is named twice, two do not exist

    system = language_system(subject, ["something funny"], rerank, Silence())
    plain = subject.mask(subject.plain(np.array([0])), np.array([0]))
    order = torch.sort(-system.score(slice(0, 1), plain), stable=True).indices[0].tolist()
    assert shown == [[f"Item {n}" for n in range(1, SHOWN + 1)]]
    assert order[:4] == [4, 2, 1, 3]
    assert order[4:-1] == list(range(5, n_items))
    assert order[-1] == 0  # the history
