# Files of items that people write: what is taken, and what is refused with its column and line.

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpr_infer import QueryError
from dpr_infer.item_file import read_item_file


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "items.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    def write(**columns) -> Path:
        path = tmp_path / "items.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


def test_csv(csv):
    read = read_item_file(
        csv(
            '\ufefftitle,id,year,tags\r\n" The Silent Harbour, again ",0042,1987,mystery| romance |mystery|\r\n'
            '\r\n"Two\nlines", 7 ,,\r\nMidnight Train,42,2003,""\r\n'
        )
    )
    assert read.ids == ["0042", " 7 ", "42"]  # blanks around an id belong to it
    assert read.titles == ["The Silent Harbour, again", "Two\nlines", "Midnight Train"]
    assert read.tags == [("mystery", "romance"), (), ()]
    assert read.ignored == ("year",)
    assert read.texts is None


@pytest.mark.parametrize("ids", [[7, 42], ["7", "42"]])
@pytest.mark.parametrize("tags", [["a|b", None], [["a", " b "], []]])
def test_parquet(parquet, ids, tags):
    read = read_item_file(parquet(id=ids, title=["x", "y"], tags=tags, text=[" long ", None], year=[1, 2]))
    assert read.ids == ["7", "42"]
    assert read.titles == ["x", "y"]
    assert read.tags == [("a", "b"), ()]
    assert read.texts == ["long", ""]
    assert read.ignored == ("year",)


def test_texts_are_trimmed_and_may_be_empty(csv):
    read = read_item_file(csv("id,text,title,tags\n1, On a submarine. ,x,a\n2,,y,\n"))
    assert read.texts == ["On a submarine.", ""]
    assert read.ignored == ()


def test_no_items(csv):
    assert read_item_file(csv("id,title,tags\n")).ids == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"items\.csv must have each of the columns id, title, tags once; got $"),
        ("id,title\n", "columns id, title, tags once; got id, title"),
        ("id,title,tags,id\n", "columns id, title, tags once; got id, title, tags, id"),
        (
            "id,title,tags,text,text\n",
            "must have the column text once at most; got id, title, tags, text, text",
        ),
        ("id,title,tags\n1,x\n", r"items\.csv, line 2: expected 3 fields; got 2"),
        ('id,title,tags\n1,"x\ny",a\n2,x,a,\n', "line 4: expected 3 fields; got 4"),
        (
            "id,title,tags\n1,x,a\n1,y,b\n",
            "column 'id', line 3: expected an id that stands in no other row; got '1'",
        ),
        ("id,title,tags\n1,x,\n\n ,y,\n", "column 'id', line 4: expected a text that is not blank; got ' '"),
        ("id,title,tags\n1, ,\n", "column 'title', line 2: expected a text that is not blank; got ' '"),
        ('id,title,tags\n1,"x,\n', "must be a CSV file in UTF-8: unexpected end of data"),
        (b"id,title,tags\n1,\xff,\n", "must be a CSV file in UTF-8"),
        ("id,title,tags\n1," + "x" * (2**24 + 1) + ",\n", "field larger than field limit"),
    ],
)
def test_wrong_csv(csv, text, message):
    with pytest.raises(QueryError, match=message):
        read_item_file(csv(text))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, None]}, "column 'id', row 2: expected a text that is not blank; got None"),
        ({"id": [1.5, 2.5]}, "column 'id', row 1"),
        ({"id": [True, False]}, "column 'id', row 1"),
        ({"id": [1, 1]}, "column 'id', row 2: expected an id that stands in no other row; got 1"),
        ({"title": ["x", None]}, "column 'title', row 2: expected a text that is not blank; got None"),
        ({"title": [1, 2]}, "column 'title', row 1"),
        (
            {"tags": [1, 2]},
            r"column 'tags', row 1: expected tags separated by '\|', or a list of them; got 1",
        ),
        ({"tags": [["a", None], []]}, "column 'tags', row 1"),
        ({"text": [1, 2]}, "column 'text', row 1: expected a text; got 1"),
    ],
)
def test_wrong_parquet(parquet, columns, message):
    with pytest.raises(QueryError, match=message):
        read_item_file(parquet(**({"id": ["1", "2"], "title": ["x", "y"], "tags": ["a", "b"]} | columns)))


def test_what_is_no_such_file(tmp_path, parquet):
    with pytest.raises(QueryError, match=r"items\.txt must be a \.csv or \.parquet file"):
        read_item_file(tmp_path / "items.txt")
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(QueryError, match=rf"{name}: cannot be read: .*No such file"):
            read_item_file(tmp_path / name)
    path = parquet(id=["1"], title=["x"])
    with pytest.raises(QueryError, match="columns id, title, tags once; got id, title"):
        read_item_file(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(QueryError, match=r"items\.parquet must be a Parquet file"):
        read_item_file(path)
