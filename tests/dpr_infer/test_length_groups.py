# Batches of mixed lengths: divided only where that pays, and answered alike.

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_bundle
from dpr_infer import Query, Recommender, fusion, user_vectors
from dpr_infer.length_groups import CALL_IN_ENTRIES, length_groups

LENGTHS = st.lists(st.integers(0, 200), min_size=1, max_size=80)


def cost(lengths, groups) -> int:
    return sum(CALL_IN_ENTRIES + len(group) * max(lengths[i] for i in group) for group in groups)


@given(LENGTHS)
def test_every_sequence_is_in_one_group(lengths):
    groups = length_groups(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    assert all(group == sorted(group) for group in groups)


@given(LENGTHS)
def test_groups_cost_no_more_than_padding(lengths):
    assert cost(lengths, length_groups(lengths)) <= cost(lengths, [range(len(lengths))])


@given(LENGTHS)
def test_no_group_is_better_divided(lengths):
    for group in length_groups(lengths):
        rising = sorted(group, key=lambda i: lengths[i])
        for cut in range(1, len(rising)):
            assert cost(lengths, [group]) <= cost(lengths, [rising[:cut], rising[cut:]])


def test_equal_lengths_stay_together_in_order():
    assert length_groups([7] * 300) == [list(range(300))]
    assert length_groups([0]) == [[0]]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """A recommender whose limits let lengths differ by more than a call costs, and whose fusion reads tokens."""
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    return Recommender(tiny_bundle.write_tiny_bundle(folder, history_limit=300, prompt_limit=200, version=3))


def test_groups_are_run_apart_and_answered_alike(wide, monkeypatch):
    ids = tiny_bundle.item_ids(40)
    prompts = ["comedy", None, "no war " * 40, "drama", "comedy " * 90, ""]
    queries = [Query(history=(ids * 7)[b : b * 45], prompt=prompt) for b, prompt in enumerate(prompts)]
    encoder, shapes = wide._pipeline._encoder, []
    for engine, name in ((encoder._backbone, "items"), (encoder._fusion._engine, "tokens")):

        def run(feed, run=engine.run, name=name):
            shapes.append((name, feed[name].shape[:2]))
            return run(feed)

        monkeypatch.setattr(engine, "run", run)
    apart = wide.query_each(queries)
    ran = [[shape for name, shape in shapes if name == which] for which in ("items", "tokens")]
    assert [sum(n for n, _ in calls) for calls in ran] == [6, 4]
    assert all(len(calls) > 1 for calls in ran)
    for module in (user_vectors, fusion):
        monkeypatch.setattr(module, "length_groups", lambda lengths: [list(range(len(lengths)))])
    for left, right in zip(apart, wide.query_each(queries), strict=True):
        np.testing.assert_allclose(left.scores, right.scores, rtol=1e-5, atol=1e-6)
        assert left.items == right.items
        assert left.gates == pytest.approx(right.gates, rel=1e-5)


def test_an_accelerator_gets_one_call():
    class Accelerator:
        on_cpu = False
        calls: ClassVar[list[tuple[int, int]]] = []

        def run(self, feed):
            self.calls.append(feed["items"].shape)
            return [np.zeros((len(feed["items"]), 3), dtype=np.float32)]

    user_vectors.UserVectors(Accelerator(), 600, 3).of([np.array(rows) for rows in ([1], [2] * 500, [3, 4])])
    assert Accelerator.calls == [(3, 500)]
