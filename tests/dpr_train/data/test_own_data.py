# Own data that is accepted: forms of ids, times, tags; doubled rows, order, k-core, report.

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dpr_train.data import Dataset, load_dataset

Write = Callable[..., Path]
ITEMS = "id,title,tags\n01,One,war\n1,Uno,\n2,Two,comedy|war\n3,Three,comedy\n"


def titles(data: Dataset, user: int = 0) -> list[str]:
    return [data.items.titles[row] for row in data.sequences[user]]


def load(folder: Path) -> Dataset:
    return load_dataset(folder, min_interactions=1)


def test_defaults(write_folder: Write) -> None:
    folder = write_folder()
    data = load_dataset(folder)
    assert (data.n_users, data.n_items, data.n_interactions) == (5, 5, 25)
    assert data.name == folder.name
    assert data.tag_names == ("all", "even")
    assert not data.redistributable
    lines = "".join(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("interactions.csv", "items.csv")
    )
    assert data.source_sha256 == hashlib.sha256(lines.encode()).hexdigest()


def test_two_paths(write_folder: Write, tmp_path: Path) -> None:
    write_folder()
    data = load_dataset((tmp_path / "interactions.csv", str(tmp_path / "items.csv")))
    assert data.n_interactions == 25


def test_leading_zeros_part_two_items(write_folder: Write) -> None:
    data = load(write_folder("user,item,timestamp\n007,01,1\n007,1,2\n7,1,1\n", ITEMS))
    assert data.user_ids == ("007", "7")
    assert titles(data) == ["One", "Uno"]
    assert data.items.ids == ("01", "1")


def test_order_is_by_time_then_by_file(write_folder: Write) -> None:
    rows = ["a,3,20", "b,1,5", "a,01,10", "a,2,20", "a,1,20", "b,2,-1"]
    data = load(write_folder("user,item,timestamp\n" + "\n".join(rows), ITEMS))
    assert data.user_ids == ("a", "b")
    assert titles(data, 0) == ["One", "Three", "Two", "Uno"]
    assert titles(data, 1) == ["Two", "Uno"]


def test_many_equal_times_keep_the_order_of_the_file(write_folder: Write) -> None:
    order = np.random.default_rng(0).permutation(300).tolist()
    items = "id,title,tags\n" + "".join(f"{n},T{n},\n" for n in range(300))
    data = load(write_folder("user,item,timestamp\n" + "".join(f"u,{n},7\n" for n in order), items))
    assert [int(data.items.ids[row]) for row in data.sequences[0]] == order


def test_doubled_rows_are_kept_once_and_repeats_at_other_times_stay(write_folder: Write) -> None:
    rows = ["a,1,5,3", "a,2,6,3", "a,1,5,4", "a,1,9,3", "b,1,5,3"]
    data = load(write_folder("user,item,timestamp,rating\n" + "\n".join(rows), ITEMS))
    assert titles(data) == ["Uno", "Two", "Uno"]
    assert (data.report.rows_read, data.report.doubled_rows, data.report.interactions) == (5, 1, 4)


def test_k_core_and_its_report(write_folder: Write) -> None:
    rows = [f"{user},{item},{item}" for user in "ab" for item in (1, 2)] + ["c,1,1", "a,3,9"]
    data = load_dataset(write_folder("user,item,timestamp\n" + "\n".join(rows), ITEMS), min_interactions=2)
    report = data.report
    assert data.items.titles == ("Uno", "Two")
    assert [rows.tolist() for rows in data.sequences] == [[0, 1], [0, 1]]
    assert (report.items_listed, report.items_before, report.items, report.items_dropped) == (4, 3, 2, 2)
    assert (report.users_before, report.users, report.users_dropped) == (3, 2, 1)
    assert (report.interactions_before, report.interactions, report.interactions_dropped) == (6, 4, 2)


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("9", "10"),
        ("-3", "-2.5"),
        ("1.5", "1e1"),
        ("1700000000000000000", "1700000000000000001"),
        ("2024-01-31", "2024-02-01"),
        ("2024-01-31T23:59:59.5", "2024-02-01 00:00"),
        ("2024-01-01T12:00:00+02:00", "2024-01-01T11:00:00Z"),
        ("2024-01-01T10:00:00Z", "2024-01-01T11:00:00"),
        ("1969-12-31T23:59:59.999999", "1970-01-01T00:00:00"),
        ("2024-01-01T00:00:00.000001", "2024-01-01T00:00:00.000002"),
    ],
)
def test_forms_of_time(write_folder: Write, early: str, late: str) -> None:
    data = load(write_folder(f"user,item,timestamp\nu,1,{late}\nu,2,{early}\n", ITEMS))
    assert titles(data) == ["Two", "Uno"]


def test_a_time_without_an_offset_is_utc_wherever_the_machine_stands(
    write_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC-9")
    time.tzset()
    try:
        rows = "u,1,2024-01-01T11:00:00\nu,2,2024-01-01T10:00:00Z\n"
        assert titles(load(write_folder("user,item,timestamp\n" + rows, ITEMS))) == ["Two", "Uno"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_tags_are_trimmed_and_none_is_kept_twice(write_folder: Write) -> None:
    items = "id,title,tags\n1,  One ,war | comedy||war\n2,Two, \n"
    data = load(write_folder("user,item,timestamp\nu,1,1\nu,2,2\n", items))
    assert data.items.tags == (("war", "comedy"), ())
    assert data.items.titles[0] == "One"


def test_text_is_kept_and_other_columns_are_noted(write_folder: Write) -> None:
    items = "year,id,title,tags,text\n1999,1,One,War,about one\n2000,2,Two,war,\n"
    data = load(write_folder("user,item,timestamp,place\nu,1,1,x\nu,2,2,y\n", items))
    assert data.items.texts == ("about one", "")
    assert data.report.notes == (
        "columns of interactions not used: place",
        "columns of items not used: year",
        "tags that differ in case alone: War, war",
    )


def test_quotes_line_ends_and_a_byte_order_mark(write_folder: Write) -> None:
    items = '\ufeffid,title,tags\r\n\r\n1,"One, ""the"" first\nof many",war\r\n2,Two,\r\n'
    data = load(write_folder("user,item,timestamp\r\nu,1,1\r\n\r\nu,2,2", items))
    assert data.items.titles == ('One, "the" first\nof many', "Two")


@pytest.mark.parametrize("as_list", [True, False])
def test_parquet(tmp_path: Path, as_list: bool) -> None:
    tags = [["war", "comedy"], None] if as_list else ["war|comedy", None]
    pl.DataFrame({"id": [1, 2], "title": ["One", "Two"], "tags": tags}).write_parquet(
        tmp_path / "items.parquet"
    )
    times = [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    pl.DataFrame(
        {"user": ["a", "a"], "item": ["1", "2"], "timestamp": times, "rating": [5, 1]}
    ).write_parquet(tmp_path / "interactions.parquet")
    data = load(tmp_path)
    assert titles(data) == ["Two", "One"]
    assert data.items.tags == (("war", "comedy"), ())


@pytest.mark.parametrize(
    "times",
    [
        [1.5, 0.5],
        [2, 1],
        ["2024-01-02", "2024-01-01"],
        [date(2024, 1, 2), date(2024, 1, 1)],
    ],
)
def test_parquet_types_of_time(tmp_path: Path, times: list[object]) -> None:
    pl.DataFrame({"id": ["1", "2"], "title": ["One", "Two"], "tags": ["", ""]}).write_parquet(
        tmp_path / "items.parquet"
    )
    pl.DataFrame({"user": [7, 7], "item": [1, 2], "timestamp": times}).write_parquet(
        tmp_path / "interactions.parquet"
    )
    data = load(tmp_path)
    assert data.user_ids == ("7",)
    assert titles(data) == ["Two", "One"]
