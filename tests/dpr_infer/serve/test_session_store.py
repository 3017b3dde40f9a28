# The store of sessions: bounded in number, bytes and time, and truly least recently used.

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.sessions import BYTES_A_SESSION, Session, SessionStore


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def session(text: str = "") -> Session:
    return Session(history=[], turns=(text,) if text else ())


def value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


def test_the_least_recently_used_goes_first():
    metrics = Metrics([])
    store = SessionStore(2, 60, metrics, Clock())
    first, second, third = session(), session(), session()
    store.add(first)
    store.add(second)
    store.get(first.id)
    store.add(third)
    assert store.get(first.id) is first
    assert store.get(third.id) is third
    with pytest.raises(Problem, match="no such session"):
        store.get(second.id)
    assert value(metrics, "dpr_sessions_evicted_total") == 1
    assert value(metrics, "dpr_sessions") == 2


def test_idle_sessions_are_forgotten_and_used_ones_are_not():
    clock, metrics = Clock(), Metrics([])
    store = SessionStore(10, 60, metrics, clock)
    idle, used = session(), session()
    store.add(idle)
    store.add(used)
    clock.now_s = 40
    store.get(used.id)
    clock.now_s = 90
    assert len(store) == 1
    assert store.get(used.id) is used
    with pytest.raises(Problem):
        store.get(idle.id)
    assert value(metrics, "dpr_sessions_evicted_total") == 0  # it was not for want of room


def test_bytes_are_bounded_too():
    store = SessionStore(4, 60, Metrics([]), Clock())
    small = [session() for _ in range(3)]
    for one in small:
        store.add(one)
    large = session()
    store.add(large)
    large.turns = ("x" * BYTES_A_SESSION,)  # four bytes a character: as much as all four may take
    store.changed(large)
    assert store.get(large.id) is large
    assert len(store) == 1


def test_a_session_that_went_meanwhile_stays_gone():
    store = SessionStore(1, 60, Metrics([]), Clock())
    gone, there = session(), session()
    store.add(gone)
    store.add(there)
    gone.turns = ("comedy",)
    store.changed(gone)
    assert len(store) == 1
    store.delete(there.id)
    with pytest.raises(Problem):
        store.delete(there.id)
    assert len(store) == 0


def test_ids_are_long_and_differ():
    ids = {session().id for _ in range(1000)}
    assert len(ids) == 1000
    assert min(map(len, ids)) >= 22


@given(st.lists(st.tuples(st.sampled_from(["add", "use", "delete", "wait"]), st.integers(0, 5))))
def test_it_keeps_what_a_simple_model_keeps(steps: list[tuple[str, int]]):
    clock = Clock()
    store = SessionStore(3, 10, Metrics([]), clock)
    made: list[Session] = []
    model: OrderedDict[str, float] = OrderedDict()
    for action, number in steps:
        for known in [key for key, used in model.items() if clock.now_s - used > 10]:
            del model[known]
        if action == "wait":
            clock.now_s += number
        elif action == "add":
            made.append(session())
            store.add(made[-1])
            model[made[-1].id] = clock.now_s
            while len(model) > 3:
                model.popitem(last=False)
        elif number < len(made):
            wanted = made[number].id
            if wanted not in model:
                with pytest.raises(Problem):
                    store.get(wanted)
            elif action == "use":
                assert store.get(wanted) is made[number]
                model[wanted] = clock.now_s
                model.move_to_end(wanted)
            else:
                store.delete(wanted)
                del model[wanted]
    assert len(store) == sum(clock.now_s - used <= 10 for used in model.values())
