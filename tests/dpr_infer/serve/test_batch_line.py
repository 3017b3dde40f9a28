# The line before the engine: whatever comes in whatever order, every query is taken once, and none is forgotten.

from __future__ import annotations

from math import inf
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dpr_infer.serve.batch_line import BatchLine, Call
from dpr_infer.serve.query import Query

CALLS = st.lists(st.lists(st.sampled_from(["known", "new"]), min_size=1, max_size=12), max_size=20)


class Waiter:
    """A future that nobody waits for, or somebody does."""

    def __init__(self, *, gone: bool) -> None:
        self.gone = gone

    def done(self) -> bool:
        return self.gone


def call(prompts: list[str], *, gone: bool = False, since: float = 0.0) -> Call:
    model: Any = SimpleNamespace(recommender=SimpleNamespace(knows_prompt=lambda prompt: prompt == "known"))
    waiter: Any = Waiter(gone=gone)
    return Call([Query(model=model, prompt=prompt) for prompt in prompts], waiter, since)


@given(CALLS, st.integers(1, 10), st.sets(st.integers(0, 19)))
def test_every_query_is_taken_once_in_batches_of_their_size(prompts, max_batch, gone):
    line = BatchLine(max_batch=max_batch, wait_s=0.0)
    calls = [call(asked, gone=n in gone) for n, asked in enumerate(prompts)]
    for waiting in calls:
        line.put(waiting)
    assert line.waiting == sum(map(len, prompts))
    line.end()
    taken: list[tuple[int, int]] = []
    while batch := line.take()[0]:
        assert len(batch) <= max_batch
        assert sum(c.queries[place].prompt == "new" for c, place in batch) <= 4
        taken += [(calls.index(c), place) for c, place in batch]
    assert sorted(taken) == [
        (n, place) for n, asked in enumerate(prompts) if n not in gone for place in range(len(asked))
    ]
    for n in range(len(calls)):
        places = [place for number, place in taken if number == n]
        assert places == sorted(places)
    assert line.waiting == 0


@given(st.lists(st.sampled_from(["known", "new"]), max_size=30))
def test_who_came_first_goes_first_among_their_kind(prompts):
    line = BatchLine(max_batch=6, wait_s=0.0)
    calls = [call([prompt]) for prompt in prompts]
    for waiting in calls:
        line.put(waiting)
    line.end()
    order = []
    while batch := line.take()[0]:
        order += [calls.index(c) for c, _ in batch]
    for kind in ("known", "new"):
        of_kind = [n for n in order if prompts[n] == kind]
        assert of_kind == sorted(of_kind)


def test_answers_are_kept_in_the_order_of_the_queries():
    asked = call(["known"] * 3)
    assert [asked.set_answer(place, f"answer {place}") for place in (2, 0, 1)] == [False, False, True]  # type: ignore[arg-type]
    assert asked.answers() == ["answer 0", "answer 1", "answer 2"]


def kinds(batch: list[tuple[Call, int]]) -> list[str]:
    return [str(c.queries[place].prompt) for c, place in batch]


def test_after_new_prompts_come_known_ones_alone():
    line = BatchLine(max_batch=8, wait_s=0.0)
    for prompt in ("new",) * 6 + ("known",):
        line.put(call([prompt]))
    assert kinds(line.take()[0]) == ["new"] * 4 + ["known"]
    line.put(call(["known"]))
    line.put(call(["new", "known"]))
    assert kinds(line.take()[0]) == ["known"]
    assert kinds(line.take()[0]) == ["new"] * 3 + ["known"]
    assert line.waiting == 0


def test_a_batch_has_as_many_new_prompts_as_it_has_time_for():
    for reading_s, many in ((0.0, 4), (0.004, 4), (0.009, 2), (0.015, 1), (5.0, 1)):
        line = BatchLine(max_batch=8, wait_s=0.0)
        line.pace.learn(1.0, 2, 2, 2 * reading_s)
        for _ in range(6):
            line.put(call(["new"]))
        assert len(line.take()[0]) == many


def test_who_waited_too_long_is_given_up():
    line = BatchLine(max_batch=1, wait_s=0.0, patience_s=60.0)
    now = perf_counter()
    old, begun, young = call(["new", "known"], since=now), call(["known"] * 2, since=now), call(["known"])
    for waiting in (begun, young, old):
        waiting.since = now
        line.put(waiting)
    assert line.take() == ([(begun, 0)], [])
    begun.since = old.since = now - 61.0
    assert line.take() == ([(young, 0)], [old])
    assert line.take() == ([(begun, 1)], [])  # it had its turn
    assert line.waiting == 0
    assert line.expected_wait_s(call(["new"])) == 0
    old.since = now - 61.0
    line.put(old)
    assert line.take() == ([], [old])


def test_a_wait_is_told_by_those_of_the_same_kind():
    line = BatchLine(max_batch=8, wait_s=0.0, patience_s=inf)
    known, new = call(["known"]), call(["known", "new"])
    assert line.expected_wait_s(known) == line.expected_wait_s(new) == 0
    for n in range(6):
        line.put(call(["known"] if n % 2 else ["new"]))
    assert line.expected_wait_s(known) == line.expected_wait_s(new) == 0  # nothing is known of the engine yet
    line.pace.learn(1.0, 10, 2, 0.8)
    assert line.expected_wait_s(known) == 3 * 0.1
    assert line.expected_wait_s(new) == 3 * 0.5
    line.pace.learn(2.0, 10, 0, 0.0)
    assert 3 * 0.1 < line.expected_wait_s(known) < 3 * 0.2
    assert line.expected_wait_s(new) == 3 * 0.5
