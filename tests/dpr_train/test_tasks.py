# The promptable tasks against a naive reading of what they say.

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from dpr_train.tasks import RECENT, recent_tag_counts, refused_tag, refused_tags, wanted_tag, wanted_tags

TAGS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=6
)  # target has it; habit; frequency


def columns(tags: list[tuple[bool, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    has, counts, frequency = zip(*tags, strict=True)
    return np.array(has), np.array(counts, dtype=np.int64), np.array(frequency, dtype=np.int64)


@given(tags=TAGS)
@example(tags=[(True, 1, 1), (True, 0, 4)])  # the least habit comes before the rarest tag
@example(tags=[(True, 1, 3), (True, 1, 2), (True, 1, 2)])
def test_wanted_is_the_targets_tag_that_habit_leads_to_least(tags: list[tuple[bool, int, int]]) -> None:
    best = None
    for g, (has, count, frequency) in enumerate(tags):
        if has and count <= 1 and (best is None or (count, frequency) < (tags[best][1], tags[best][2])):
            best = g
    has, counts, frequency = columns(tags)
    assert wanted_tag(has, counts, frequency) == best


@given(tags=TAGS)
@example(tags=[(True, 5, 1), (False, 3, 1), (False, 4, 1), (False, 4, 1)])
def test_refused_is_the_strongest_habit_that_the_target_breaks(tags: list[tuple[bool, int, int]]) -> None:
    best = None
    for g, (has, count, _) in enumerate(tags):
        if not has and count >= 3 and (best is None or count > tags[best][1]):
            best = g
    has, counts, _ = columns(tags)
    assert refused_tag(has, counts) == best


@given(tags=TAGS)
@example(
    tags=[(True, 1, 3), (True, 0, 4), (True, 1, 2), (True, 1, 2), (False, 3, 1), (False, 4, 1), (False, 4, 1)]
)
def test_all_that_a_task_may_name_come_in_the_order_of_its_rule(tags: list[tuple[bool, int, int]]) -> None:
    has, counts, frequency = columns(tags)
    wanted = [g for g, (has_it, count, _) in enumerate(tags) if has_it and count <= 1]
    refused = [g for g, (has_it, count, _) in enumerate(tags) if not has_it and count >= 3]
    assert wanted_tags(has, counts, frequency).tolist() == sorted(wanted, key=lambda g: tags[g][1:])
    assert refused_tags(has, counts).tolist() == sorted(refused, key=lambda g: -tags[g][1])


@given(history=st.lists(st.integers(0, 4), max_size=25))
def test_habit_counts_the_newest_items_alone(history: list[int]) -> None:
    matrix = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]], dtype=bool)
    newest = history[-10:]
    expected = [sum(bool(matrix[row, g]) for row in newest) for g in range(2)]
    assert RECENT == 10
    assert recent_tag_counts(np.array(history, dtype=np.int64), matrix).tolist() == expected
