# Texts of Parquet files as Python's, by both of the ways there are.

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpr_infer import parquet_columns
from dpr_infer.errors import BundleError

NAMES = ["Heat", "", "Ünïcödé", "Heat", "x" * 300]
LISTS = [["a", "b"], [], ["a", "b"], ["b"], ["Heat"]]


@pytest.fixture(params=[0, 2, 2**17], ids=["by Arrow", "by both", "by Python"])
def few(request, monkeypatch) -> int:
    monkeypatch.setattr(parquet_columns, "_FEW", request.param)
    return request.param


def read(path) -> dict:
    return parquet_columns.read_columns(path, {"name": "strings", "lists": "lists of strings"})


def test_texts_are_read_and_equal_ones_are_one_object(few, tmp_path):
    pq.write_table(pa.table({"name": NAMES, "lists": LISTS}), tmp_path / "file.parquet", row_group_size=2)
    columns = read(tmp_path / "file.parquet")
    assert columns == {"name": NAMES, "lists": [tuple(entry) for entry in LISTS]}
    assert columns["name"][0] is columns["name"][3]  # of two row groups
    assert columns["lists"][0] is columns["lists"][2]
    assert columns["lists"][0][1] is columns["lists"][3][0]


@pytest.mark.parametrize("place", ["name", "lists"])
def test_nulls_are_refused_with_their_row(few, place, tmp_path):
    columns = {"name": list(NAMES), "lists": [list(entry) for entry in LISTS]}
    if place == "name":
        columns["name"][3] = None
    else:
        columns["lists"][3] = ["b", None]
    pq.write_table(pa.table(columns), tmp_path / "file.parquet", row_group_size=2)
    with pytest.raises(BundleError, match=f"{place} must not hold nulls; row 3 does"):
        read(tmp_path / "file.parquet")
