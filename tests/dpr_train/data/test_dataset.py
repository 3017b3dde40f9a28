# Dataset and ItemTable: derived columns, and what they refuse.

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from dpr_train.data import DataError, Dataset, ItemTable, make_synthetic

ITEMS = ItemTable(
    ids=("a", "b", "c"), titles=("A", "B", "C"), tags=(("war", "comedy"), (), ("war",)), texts=("x", "", "z")
)


@pytest.fixture
def dataset() -> Dataset:
    return make_synthetic(n_users=20, n_items=12, n_tags=3)


def test_tag_names_are_sorted_and_matrix_follows_them() -> None:
    assert ITEMS.tag_names == ("comedy", "war")
    assert ITEMS.tag_matrix.dtype == np.bool_
    assert ITEMS.tag_matrix.tolist() == [[True, True], [False, False], [False, True]]


def test_tag_matrix_without_any_tag() -> None:
    items = ItemTable(ids=("a",), titles=("A",), tags=((),))
    assert items.tag_matrix.shape == (1, 0)


def test_tag_matrix_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        ITEMS.tag_matrix[0, 0] = False


def test_descriptions_put_title_tags_and_text_together() -> None:
    assert ITEMS.descriptions == ("A. war, comedy. x.", "B.", "C. war. z.")
    without = ItemTable(ids=("a",), titles=("Heat (1995)",), tags=(("Crime",),))
    assert without.descriptions == ("Heat (1995). Crime.",)


def test_descriptions_do_not_say_a_title_twice() -> None:
    items = ItemTable(
        ids=("a", "b"), titles=("Rain?", "Heat"), tags=((), ()), texts=("Rain? More rain.", "Heatwave.")
    )
    assert items.descriptions == ("Rain? More rain.", "Heat. Heatwave.")


def test_take_moves_all_columns() -> None:
    taken = ITEMS.take([2, 0])
    assert (taken.ids, taken.titles, taken.texts) == (("c", "a"), ("C", "A"), ("z", "x"))
    assert taken.tags == (("war",), ("war", "comedy"))


def test_arrow_table_with_texts() -> None:
    table = ITEMS.to_arrow()
    assert table.schema.names == ["item_id", "title", "tags", "text"]
    assert table.schema.types == [pa.string(), pa.string(), pa.list_(pa.string()), pa.string()]
    assert table.column("tags").to_pylist() == [["war", "comedy"], [], ["war"]]


def test_arrow_table_without_texts(dataset: Dataset) -> None:
    assert dataset.items_table().schema.names == ["item_id", "title", "tags"]
    assert dataset.items_table().num_rows == dataset.n_items


def test_item_table_refuses_doubled_ids() -> None:
    with pytest.raises(DataError, match=r"occurs twice.*expected 2 different ids; got 1"):
        ItemTable(ids=("a", "a"), titles=("A", "B"), tags=((), ()))


def test_item_table_refuses_unequal_columns() -> None:
    with pytest.raises(DataError, match=r"differ in length.*\[1, 2\]"):
        ItemTable(ids=("a", "b"), titles=("A", "B"), tags=((),))


def test_sequences_are_read_only(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="read-only"):
        dataset.sequences[0][0] = 0


def test_counts(dataset: Dataset) -> None:
    assert dataset.n_interactions == dataset.report.interactions == sum(map(len, dataset.sequences))
    assert (dataset.n_users, dataset.n_items) == (dataset.report.users, dataset.report.items)


def test_refuses_rows_outside_the_item_table(dataset: Dataset) -> None:
    sequences = (np.array([0, dataset.n_items]), *dataset.sequences[1:])
    with pytest.raises(DataError, match=r"'u0000' names a row outside.*expected rows 0\.\.11; got 0\.\.12"):
        dataclasses.replace(dataset, sequences=sequences)


def test_refuses_a_wrong_dtype(dataset: Dataset) -> None:
    sequences = (np.array([0], dtype=np.int32), *dataset.sequences[1:])
    with pytest.raises(DataError, match=r"expected int64 of shape \(T,\); got int32"):
        dataclasses.replace(dataset, sequences=sequences)


def test_refuses_a_missing_sequence(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="expected 20 sequences; got 19"):
        dataclasses.replace(dataset, sequences=dataset.sequences[1:])


def test_report_as_plain_values(dataset: Dataset) -> None:
    plain = dataset.report.as_dict()
    assert plain["interactions"] == dataset.n_interactions
    assert plain["notes"] == list(dataset.report.notes)
    assert f"users: {dataset.n_users} of {dataset.n_users}" in str(dataset.report)
