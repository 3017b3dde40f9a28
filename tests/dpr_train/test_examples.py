# Users for demonstrations.

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dpr_train.examples import choose_examples
from dpr_train.tasks import recent_tag_counts
from tiny_model import tiny_dataset


def test_examples_are_different_users_with_their_own_histories() -> None:
    dataset = tiny_dataset()
    examples = choose_examples(dataset)
    assert len(examples) == len(dataset.tag_names)
    assert len({name for name, _ in examples}) == len(examples)
    for name, history in examples:
        user = dataset.user_ids.index(name.removeprefix("user "))
        assert history == [dataset.items.ids[row] for row in dataset.sequences[user]]
        assert len(history) >= np.median([len(s) for s in dataset.sequences])


def test_nobody_is_chosen_twice() -> None:
    dataset = tiny_dataset()
    alike = replace(
        dataset.items, tags=(dataset.tag_names,) * dataset.n_items
    )  # one user leans most on all tags
    examples = choose_examples(replace(dataset, items=alike))
    assert len({name for name, _ in examples}) == len(examples) == 3


def test_the_first_leans_most_on_the_most_frequent_tag() -> None:
    dataset = tiny_dataset()
    tag = int(np.argmax(dataset.tag_matrix.sum(0)))
    ((name, _),) = choose_examples(dataset, count=1)
    lean = [recent_tag_counts(sequence, dataset.tag_matrix)[tag] for sequence in dataset.sequences]
    chosen = lean[dataset.user_ids.index(name.removeprefix("user "))]
    median = np.median([len(s) for s in dataset.sequences])
    long_enough = [c for c, s in zip(lean, dataset.sequences, strict=True) if len(s) >= min(15, median)]
    assert chosen == max(long_enough)
