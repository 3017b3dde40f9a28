# Which tags are kept.

import numpy as np
import pytest

from dpr_train.data import Dataset, ItemTable
from dpr_train.data.dataset import DataReport
from dpr_train.data.tags import keep_frequent_tags

TAGS = (("b", "a", "rare"), ("b", "a"), ("b", "c"), ("c",))


@pytest.fixture
def dataset() -> Dataset:
    items = ItemTable(ids=tuple("wxyz"), titles=tuple("WXYZ"), tags=TAGS, texts=tuple("1234"))
    report = DataReport(
        rows_read=4,
        doubled_rows=0,
        items_listed=4,
        users_before=1,
        items_before=4,
        interactions_before=4,
        users=1,
        items=4,
        interactions=4,
        min_interactions=1,
        notes=("first",),
    )
    return Dataset(
        name="tagged",
        items=items,
        user_ids=("u",),
        sequences=(np.arange(4),),
        report=report,
        source_sha256="",
        licence="",
        redistributable=True,
    )


def test_tags_of_few_items_go(dataset: Dataset) -> None:
    kept = keep_frequent_tags(dataset, 2)
    assert kept.items.tags == (("b", "a"), ("b", "a"), ("b", "c"), ("c",))
    assert kept.report.notes == ("first", "tags left out: 1, carried by fewer than 2 items")
    assert (kept.items.ids, kept.items.texts) == (dataset.items.ids, dataset.items.texts)


def test_of_equally_frequent_tags_the_first_by_code_point_stays(dataset: Dataset) -> None:
    kept = keep_frequent_tags(dataset, 2, at_most=2)
    assert kept.tag_names == ("a", "b")
    assert kept.items.tags[3] == ()
    assert kept.report.notes[1].endswith("fewer than 2 items or not among the 2 most frequent")


def test_nothing_to_drop(dataset: Dataset) -> None:
    assert keep_frequent_tags(dataset, 1, at_most=4) is dataset
