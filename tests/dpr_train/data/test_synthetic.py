# The synthetic data set: the same from run to run, whole, and with the structure it promises.

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dpr_train.data import DataError, leave_one_out, load_dataset, make_synthetic, write_own_data


def test_sizes_and_default() -> None:
    data = make_synthetic()
    assert (data.n_users, data.n_items, len(data.tag_names)) == (200, 120, 6)
    assert data.redistributable
    assert min(map(len, data.sequences)) >= 8
    assert load_dataset("synthetic").user_ids == data.user_ids


def test_the_same_seed_gives_the_same_data() -> None:
    one, two, other = make_synthetic(seed=3), make_synthetic(seed=3), make_synthetic(seed=4)
    assert one.items.titles == two.items.titles
    assert all(map(np.array_equal, one.sequences, two.sequences))
    assert one.source_sha256 == two.source_sha256 != other.source_sha256
    assert not all(map(np.array_equal, one.sequences, other.sequences))


def test_titles_are_different_and_no_user_takes_an_item_twice() -> None:
    data = make_synthetic(n_items=400)
    assert len(set(data.items.titles)) == data.n_items
    assert all(len(set(rows.tolist())) == len(rows) for rows in data.sequences)


def test_the_last_item_predicts_the_next() -> None:
    data = make_synthetic()
    follows = np.zeros((data.n_items, data.n_items))
    parts = leave_one_out(data.sequences)
    for rows in parts.train:
        np.add.at(follows, (rows[:-1], rows[1:]), 1)
    last = np.array([rows[-2] for rows in data.sequences])
    guessed = follows[last].argmax(axis=1)
    popular = follows.sum(axis=0).argmax()
    assert np.mean(guessed == parts.test) > 0.3 > 0.1 > np.mean(popular == parts.test)


def test_a_ring_closes_within_its_tag() -> None:
    data = make_synthetic(n_users=500, n_items=25, n_tags=3)
    steps = [pair for rows in data.sequences for pair in pairwise(rows.tolist())]
    after_last = np.bincount([later for earlier, later in steps if earlier == 24], minlength=25)
    assert after_last.argmax() == 0


def test_users_have_tastes() -> None:
    # The runs along one tag do not last from the first third of a sequence to the last; a taste does.
    data = make_synthetic()
    thirds = [(rows[: len(rows) // 3], rows[-(len(rows) // 3) :]) for rows in data.sequences]
    early, late = (
        np.array([data.tag_matrix[part].mean(axis=0) for part in parts])
        for parts in zip(*thirds, strict=True)
    )
    above_average = [(shares - shares.mean(axis=0)).ravel() for shares in (early, late)]
    assert np.corrcoef(*above_average)[0, 1] > 0.2


@pytest.mark.parametrize("size", [(1, 3, 2), (5, 12, 12), (30, 6, 2)])
def test_small_sizes(size: tuple[int, int, int]) -> None:
    data = make_synthetic(*size)
    assert data.n_users == size[0]
    assert 0 < data.n_items <= size[1]
    assert len(leave_one_out(data.sequences)) == size[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 0}, "bad n_users"),
        ({"n_tags": 13}, r"bad n_tags; expected 2\.\.12; got 13"),
        ({"n_items": 5}, r"bad n_items; expected 6\.\.400; got 5"),
        ({"n_items": 401}, "bad n_items"),
    ],
)
def test_refuses_sizes_out_of_range(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_synthetic(**arguments)


def test_written_as_csv_it_loads_as_it_was(tmp_path: Path) -> None:
    data = make_synthetic(seed=1)
    write_own_data(data, tmp_path / "mine")
    read = load_dataset(tmp_path / "mine")
    assert read.name == "mine"
    assert (read.user_ids, read.items.ids, read.items.titles) == (
        data.user_ids,
        data.items.ids,
        data.items.titles,
    )
    assert read.items.tags == data.items.tags
    assert all(map(np.array_equal, read.sequences, data.sequences))
    assert read.report.notes == ()
