# Tags chosen uniformly come from where they may, each as often; prompts are those of the evaluation.

from __future__ import annotations

import numpy as np

from dpr_bench.quality.queries import choose_uniformly, make_queries, recent_counts
from dpr_train.evaluate import make_tasks, make_wordings
from dpr_train.prompts import load_corpus

RNG = np.random.default_rng(0)
TAGS = RNG.random((50, 6)) < 0.4
HISTORIES = [RNG.integers(0, 50, int(RNG.integers(3, 30))) for _ in range(80)]
TARGETS = RNG.integers(0, 50, 80)


def test_each_allowed_column_is_as_likely() -> None:
    allowed = np.tile([True, False, True, True], (6000, 1))
    chosen = choose_uniformly(allowed, np.random.default_rng(1))
    shares = np.bincount(chosen, minlength=4) / 6000
    assert shares[1] == 0
    assert np.abs(shares[[0, 2, 3]] - 1 / 3).max() < 0.03


def test_a_row_without_an_allowed_column_is_minus_one() -> None:
    allowed = np.array([[False, False], [False, True]])
    assert choose_uniformly(allowed, np.random.default_rng(1)).tolist() == [-1, 1]


def test_uniform_queries_ask_for_tags_of_the_target_and_refuse_habits_it_breaks() -> None:
    standard, positive, negative, compound = make_queries("uniform", HISTORIES, TARGETS, TAGS, seed=3)
    assert len(standard) == 80
    carried, counts = TAGS[TARGETS], recent_counts(HISTORIES, TAGS)
    assert carried[positive.users, positive.asked].all()
    assert positive.users.tolist() == np.flatnonzero(carried.any(1)).tolist()
    assert not carried[negative.users, negative.refused].any()
    assert (counts[negative.users, negative.refused] >= 3).all()
    assert set(compound.users) == set(positive.users) & set(negative.users)
    assert len(set(positive.asked)) == 6  # every tag, not the rarest alone


def test_users_do_not_depend_on_the_seed_of_the_choice() -> None:
    first, second = (make_queries("uniform", HISTORIES, TARGETS, TAGS, seed=seed) for seed in (1, 2))
    for one, other in zip(first, second, strict=True):
        assert one.users.tolist() == other.users.tolist()
    assert first[1].asked.tolist() != second[1].asked.tolist()


def test_hard_queries_are_those_of_the_evaluation() -> None:
    ours = make_queries("hard", HISTORIES, TARGETS, TAGS, seed=3)
    for one, other in zip(ours, make_tasks(HISTORIES, TARGETS, TAGS), strict=True):
        assert one.asked.tolist() == other.asked.tolist()
        assert one.refused.tolist() == other.refused.tolist()


def test_prompts_are_word_for_word_those_of_the_evaluation() -> None:
    tags = load_corpus().domains["genres"][:6]
    for wording in make_wordings(tags):
        for task in make_tasks(HISTORIES, TARGETS, TAGS)[1:]:
            drawn = wording.draw(task, seed=5)
            assert [prompt.text for prompt in drawn] == wording.prompts(task, 5)
            assert all(prompt.family for prompt in drawn)
