# What the benchmark of sessions asks, and what it makes of the times.

from __future__ import annotations

import pytest

import tiny_bundle
from dpr_bench import sessions
from dpr_infer import Recommender


@pytest.fixture
def recommender(tmp_path):
    return Recommender(tiny_bundle.write_tiny_bundle(tmp_path / "tiny", version=6))


def test_each_figure_compares_the_same_question(recommender, monkeypatch):
    """Whatever is timed against each other answers alike."""
    seen = []

    def compare(into, turn, ours, whole):
        got, expected = ours(), whole()
        if got is not None:
            assert got.items == expected.items
        seen.append((turn, into))
        for times in into:
            times.append(1)

    monkeypatch.setattr(sessions, "_time", compare)
    cells = sessions._measure(recommender, 6, rounds=2)
    assert cells == ["0.000 / 0.000 = 1.00"] * 3
    assert len(seen) == 3 * (2 + sessions._WARM_UP)


def test_an_item_is_added_and_asked_with(recommender):
    ids = recommender.items.ids
    session = recommender.session(ids[:2])
    answer = sessions._add_and_ask(session, ids[2])
    assert session.history == tuple(ids[:3])
    assert answer.items == recommender.query(ids[:3]).items


def test_calls_take_turns_after_the_warm_up():
    order: list[str] = []
    times: tuple[list[int], list[int]] = ([], [])
    for turn in range(sessions._WARM_UP + 2):
        sessions._time(times, turn, lambda: order.append("ours"), lambda: order.append("whole"))
    assert order[:4] == ["ours", "whole", "whole", "ours"]
    assert [len(t) for t in times] == [2, 2]
    assert sessions._cell([1_000_000, 3_000_000, 9_000_000], [4_000_000]) == "3.000 / 4.000 = 0.75"
