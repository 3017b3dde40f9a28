# The line before the engine: whatever comes in whatever order, every query is taken once, and none is forgotten.

from __future__ import annotations

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


def call(prompts: list[str], *, gone: bool = False) -> Call:
    model: Any = SimpleNamespace(recommender=SimpleNamespace(knows_prompt=lambda prompt: prompt == "known"))
    waiter: Any = Waiter(gone=gone)
    return Call([Query(model=model, prompt=prompt) for prompt in prompts], waiter, 0.0)


@given(CALLS, st.integers(1, 10), st.sets(st.integers(0, 19)))
def test_every_query_is_taken_once_in_batches_of_their_size(prompts, max_batch, gone):
    line = BatchLine(max_batch=max_batch, wait_s=0.0)
    calls = [call(asked, gone=n in gone) for n, asked in enumerate(prompts)]
    for waiting in calls:
        line.put(waiting)
    assert line.waiting == sum(map(len, prompts))
    line.end()
    taken: list[tuple[int, int]] = []
    while batch := line.take():
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
    while batch := line.take():
        order += [calls.index(c) for c, _ in batch]
    for kind in ("known", "new"):
        of_kind = [n for n in order if prompts[n] == kind]
        assert of_kind == sorted(of_kind)


def test_answers_are_kept_in_the_order_of_the_queries():
    asked = call(["known"] * 3)
    assert [asked.set_answer(place, f"answer {place}") for place in (2, 0, 1)] == [False, False, True]  # type: ignore[arg-type]
    assert asked.answers() == ["answer 0", "answer 1", "answer 2"]
