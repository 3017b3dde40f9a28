# Own data that is refused: each message names file, column, line, what was expected and what was got.

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from dpr_train.data import DataError, load_dataset, make_synthetic, write_own_data

Write = Callable[..., Path]
ITEMS = "id,title,tags\n1,One,war\n2,Two,comedy\n"
TAKEN = "user,item,timestamp\nu,1,10\nu,2,11\n"


def refusal(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_dataset(folder, min_interactions=1)
    return caught.value


@pytest.mark.parametrize(
    ("interactions", "column", "row", "what", "got"),
    [
        ("user,item\nu,1\n", "timestamp", None, "missing column", "the columns user, item"),
        ("user,item,timestamp\n", None, None, "the file has no rows", "none"),
        (TAKEN + "u,9,12\n", "item", "line 4", "unknown item", "'9'"),
        (TAKEN + "u, 1,12\n", "item", "line 4", "unknown item", "' 1'"),
        (TAKEN + "\n,1,12\n", "user", "line 5", "empty user", "''"),
        (TAKEN + "u,,12\n", "item", "line 4", "empty item", "''"),
        (TAKEN + "u,1,\n", "timestamp", "line 4", "bad timestamp", "''"),
        (TAKEN + "u,1,nan\n", "timestamp", "line 4", "bad timestamp", "'nan'"),
        (TAKEN + "u,1,2024-01-01\n", "timestamp", "line 4", "bad timestamp", "'2024-01-01'"),
        ("user,item,timestamp\nu,1,soon\n", "timestamp", "line 2", "bad timestamp", "'soon'"),
        (
            "user,item,timestamp\nu,1,2024-01-01\nu,1,2024-02-30\n",
            "timestamp",
            "line 3",
            "bad timestamp",
            "'2024-02-30'",
        ),
        ("user,item,timestamp,rating\nu,1,1,5\nu,2,2,good\n", "rating", "line 3", "bad rating", "'good'"),
        ("user,item,timestamp,rating\nu,1,1,inf\n", "rating", "line 2", "bad rating", "'inf'"),
        ("user,item,timestamp,rating\nu,1,1,\n", "rating", "line 2", "bad rating", "''"),
        (TAKEN + "u,1\n", None, "line 4", "wrong number of fields", "2 in ['u', '1']"),
        (TAKEN + "u,1,2,3\n", None, "line 4", "wrong number of fields", "4 in ['u', '1', '2', '3']"),
        (TAKEN + '"u\nv",9,12\nu,1,1\n', "item", "line 4", "unknown item", "'9'"),
    ],
)
def test_bad_interactions(
    write_folder: Write, interactions: str, column: str | None, row: str | None, what: str, got: str
) -> None:
    error = refusal(write_folder(interactions, ITEMS))
    assert error.file is not None
    assert error.file.endswith("interactions.csv")
    assert (error.column, error.row, error.what, error.got) == (column, row, what, got)
    assert error.expected


@pytest.mark.parametrize(
    ("items", "column", "row", "what", "got"),
    [
        ("id,title\n1,One\n", "tags", None, "missing column", "the columns id, title"),
        ("id,title,tags\n", None, None, "the file has no rows", "none"),
        (ITEMS + "1,Again,\n", "id", "line 4", "doubled item id", "'1'"),
        (ITEMS + ",Three,\n", "id", "line 4", "empty id", "''"),
        (ITEMS + "3,  ,\n", "title", "line 4", "empty title", "''"),
        ("id,title,id\n1,One,1\n", None, "line 1", "bad header", "['id', 'title', 'id']"),
        ("", None, "line 1", "the file is empty or its first line is", "[]"),
        ("\n" + ITEMS, None, "line 1", "the file is empty or its first line is", "[]"),
        (ITEMS + '3,"Three,war\n4,Four,\n', None, "line 5", "bad CSV", "unexpected end of data"),
        (ITEMS + '3,"Three" x,war\n', None, "line 4", "bad CSV", "',' expected after '\"'"),
        (ITEMS.encode() + b"3,\xe9t\xe9,\n", None, "line 4", "bad encoding", r"b'\xe9'"),
    ],
)
def test_bad_items(
    write_folder: Write, items: str | bytes, column: str | None, row: str | None, what: str, got: str
) -> None:
    error = refusal(write_folder(TAKEN, items))
    assert error.file is not None
    assert error.file.endswith("items.csv")
    assert (error.column, error.row, error.what, error.got) == (column, row, what, got)
    assert error.expected


def test_the_whole_message(write_folder: Write) -> None:
    folder = write_folder(TAKEN + "u,9,12\n", ITEMS)
    assert str(refusal(folder)) == (
        f"{folder}/interactions.csv, column 'item', line 4: unknown item; "
        "expected an id of the item table; got '9'"
    )


def test_a_long_value_is_shortened(write_folder: Write) -> None:
    assert len(str(refusal(write_folder(TAKEN + "u," + "9" * 5000 + ",12\n", ITEMS)))) < 500


def test_lines_past_one_block_are_right(write_folder: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpr_train.data.own_files._BLOCK_ROWS", 3)
    rows = [f"u,{1 + n % 2},{n}" for n in range(10)]
    assert refusal(write_folder("\n".join(["user,item,timestamp", *rows, "u,9,99"]), ITEMS)).row == "line 12"


def test_parquet_rows_count_from_one(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["1", "2"], "title": ["One", None], "tags": ["", ""]}).write_parquet(
        tmp_path / "items.parquet"
    )
    pl.DataFrame({"user": ["u"], "item": ["1"], "timestamp": [1]}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    error = refusal(tmp_path)
    assert (error.column, error.row, error.what) == ("title", "row 2", "empty title")


@pytest.mark.parametrize(
    ("column", "values", "got"),
    [("id", [1.5], "Float64"), ("tags", [[1]], "List(Int64)"), ("title", [True], "Boolean")],
)
def test_parquet_columns_of_a_wrong_type(tmp_path: Path, column: str, values: list[object], got: str) -> None:
    columns = {"id": ["1"], "title": ["One"], "tags": [""]} | {column: values}
    pl.DataFrame(columns).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"user": ["u"], "item": ["1"], "timestamp": [1]}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    error = refusal(tmp_path)
    assert (error.column, error.what, error.got) == (column, "wrong type of column", got)


@pytest.mark.parametrize(("values", "row"), [([1, None], "row 2"), ([float("nan"), 1.0], "row 1")])
def test_parquet_times_that_are_missing(tmp_path: Path, values: list[object], row: str) -> None:
    pl.DataFrame({"id": ["1"], "title": ["One"], "tags": [""]}).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"user": ["u", "v"], "item": ["1", "1"], "timestamp": values}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    error = refusal(tmp_path)
    assert (error.column, error.row, error.what) == ("timestamp", row, "bad timestamp")


def test_a_parquet_file_that_is_none(write_folder: Write, tmp_path: Path) -> None:
    write_folder(TAKEN, ITEMS)
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.parquet").write_text("no parquet")
    assert refusal(tmp_path).expected == "a Parquet file"


def test_nothing_left_after_the_core(write_folder: Write) -> None:
    with pytest.raises(
        DataError, match=r"nothing is left of .* after the 5-core.*got 2 interactions of 1 users"
    ):
        load_dataset(write_folder(TAKEN, ITEMS))


def test_min_interactions_below_one(write_folder: Write) -> None:
    with pytest.raises(DataError, match="bad min_interactions; expected at least 1; got 0"):
        load_dataset(write_folder(), min_interactions=0)


def test_a_missing_and_a_double_file(write_folder: Write, tmp_path: Path) -> None:
    write_folder()
    (tmp_path / "items.parquet").write_bytes(b"")
    assert refusal(tmp_path).got == "items.csv and items.parquet"
    (tmp_path / "interactions.csv").unlink()
    assert refusal(tmp_path).what == "no interactions file"


def test_unknown_names_and_kinds(write_folder: Write, tmp_path: Path) -> None:
    write_folder()
    names = "ml-100k, ml-1m, beauty, mind, synthetic"
    with pytest.raises(DataError, match=f"no such data set; expected {names}, or a folder"):
        load_dataset("ml-20m")
    with pytest.raises(DataError, match=r"other\.csv: no such file"):
        load_dataset((tmp_path / "other.csv", tmp_path / "items.csv"))
    (tmp_path / "items.tsv").write_text("id\n")
    with pytest.raises(DataError, match=r"unknown kind of file; expected \.csv or \.parquet; got \.tsv"):
        load_dataset((tmp_path / "interactions.csv", tmp_path / "items.tsv"))


def test_source_is_for_movielens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="source= is for published data sets"):
        load_dataset("synthetic", source=tmp_path)


def test_a_tag_with_the_separator_cannot_be_written(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["1"], "title": ["One"], "tags": [["a|b"]]}).write_parquet(tmp_path / "items.parquet")
    pl.DataFrame({"user": ["u"], "item": ["1"], "timestamp": [1]}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    with pytest.raises(DataError, match=r"expected tags without '\|'; got 'a\|b'"):
        write_own_data(load_dataset(tmp_path, min_interactions=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert write_own_data(make_synthetic(), tmp_path / "out")[0].is_file()
