# Weights are chosen by the targets they are given: those of the validation split, never of the test.

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from dpr_bench.quality import tuning
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.systems import System, boost
from dpr_bench.quality.tuning import BOOST_GRID, best_weight, tune
from dpr_train.evaluate import TaskQueries, Wording
from hand_made_subject import hand_made, queries, read_as

TAGS = [[1, 0], [0, 1], [0, 0], [1, 0], [0, 1], [0, 0]]


def subject(targets: list[int]) -> Subject:
    scores = [[0.0, 6.0, 5.0, 1.0, 4.0, 3.0]] * len(targets)
    return hand_made(scores, TAGS, [[5]] * len(targets), targets)


def test_the_weight_that_puts_the_targets_first() -> None:
    obeys, breaks = subject([3, 3]), subject([1, 1])
    task = queries("positive", [0, 1], [0, 0], [-1, -1])
    for given, expected in ((obeys, True), (breaks, False)):
        weight = best_weight(given, task, BOOST_GRID, partial(boost, given.items.tags, task))
        assert (weight > 0) is expected


def test_of_equal_weights_the_smallest_is_taken() -> None:
    given = subject([1])
    task = queries("positive", [0], [0], [-1])
    assert best_weight(given, task, (4.0, -2.0, 0.0, 2.0), lambda _: System("same", lambda _, s: s)) == 0.0


def test_only_the_split_it_is_given_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning sees one subject; its histories and targets alone decide, and the test's are not among its arguments."""
    asked_of: list[Subject] = []

    def make(
        choice: str, histories: object, targets: object, tags: object, *, seed: int
    ) -> list[TaskQueries]:
        asked_of.append(validation)
        assert choice == "hard"
        assert histories is validation.histories
        assert targets is validation.targets
        return [queries("standard", [0], [-1], [-1]), queries("positive", [0], [0], [-1])]

    validation = subject([3])
    monkeypatch.setattr(tuning, "make_queries", make)
    monkeypatch.setattr(Wording, "prompts", lambda *_: ["something funny"])
    embedded = np.eye(6)[3:4].tolist()
    monkeypatch.setattr(tuning, "read_prompts", lambda *_: read_as([[[1.0, 0], [0, 0]]], embedded))
    wording = Wording("seen", grammar=None)  # type: ignore[arg-type]
    weights = tune(validation, wording)
    assert len(asked_of) == 1
    assert weights.boost.keys() == weights.additive.keys() == {"positive"}
    assert weights.boost["positive"] > 0
    assert weights.additive["positive"] > 0
