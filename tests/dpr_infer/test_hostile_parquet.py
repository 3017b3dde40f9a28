# Parquet files that are small and would become large, or say one thing in the footer and another in a page.

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpr_infer import BundleError
from dpr_infer.parquet_columns import read_columns
from dpr_infer.parquet_pages import ColumnChunk, text_bytes

N = 40
IDS = [f"i{n}" for n in range(N)]
STRINGS = pa.list_(pa.string())
WANTED = {"item_id": "strings", "title": "strings", "tags": "lists of strings"}


def table(**columns) -> pa.Table:
    return pa.table(
        {"item_id": IDS, "title": IDS, "tags": pa.array([["a", "b"], []] * (N // 2), STRINGS)} | columns
    )


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "items.parquet"


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"data_page_version": "2.0"},
        {"version": "1.0"},
        {"row_group_size": 3, "data_page_size": 16},
        {"dictionary_pagesize_limit": 8},
    ],
    ids=str,
)
def test_what_writers_write_is_read(file, compression, options):
    pq.write_table(table(year=list(range(N))), file, compression=compression, **options)
    columns = read_columns(file, WANTED, rows=N)
    assert columns == {"item_id": IDS, "title": IDS, "tags": [("a", "b"), ()] * (N // 2)}
    assert columns["item_id"][3] is columns["item_id"][3]
    assert columns["tags"][0] is columns["tags"][2]  # equal ones are kept once


def test_no_rows(file):
    pq.write_table(table().slice(0, 0), file)
    assert read_columns(file, WANTED) == {"item_id": [], "title": [], "tags": []}


def test_many_values_that_the_rows_explain(file):
    """A dictionary that its page can't hold, and as many tags as are allowed."""
    n = 6_000
    ids = [f"{row:06d}" + "x" * 300 for row in range(n)]
    tags = pa.array([[f"t{row % 50}-{t}" for t in range(250)] for row in range(n)], STRINGS)
    pq.write_table(pa.table({"item_id": ids, "title": ids, "tags": tags}), file)
    assert read_columns(file, WANTED, rows=n)["tags"][1][249] == "t1-249"


def bombs():
    lots = pa.array(["t"] * 3_000_000)
    one_list = pa.ListArray.from_arrays(pa.array([0] * N + [len(lots)], pa.int32()), lots)
    long_title = pa.array(["x" * 3_000_000] * N)
    rows = pa.table({"item_id": pa.array([""] * 2_000_000)})
    return {
        "one text in every row": (
            table(title=long_title),
            {},
            "title must have at most 67108864 bytes; it may have",
        ),
        "one text, not compressed": (
            table(title=long_title),
            {"use_dictionary": False},
            "title must have at most 67108864 bytes; its pages have",
        ),
        "one list": (table(tags=one_list), {}, "tags must have at most 1048576 entries; it has 30000"),
        "rows": (rows, {}, "items.parquet must have 40 rows; got 2000000"),
        "delta": (
            table(),
            {"use_dictionary": False, "column_encoding": {"title": "DELTA_BYTE_ARRAY"}},
            "title must be encoded plainly or by a dictionary; a page has the encoding 7",
        ),
        "dictionary": (
            table(title=[f"{n}" + "x" * 500_000 for n in range(N)]),
            {"dictionary_pagesize_limit": 2**30},
            "title must have plain dictionaries of at most 16777216 bytes; one has 20",
        ),
    }


_READ = """
import json, pathlib, resource, sys
import pyarrow.parquet
from dpr_infer import BundleError
from dpr_infer.parquet_columns import read_columns

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak()
try:
    read_columns(pathlib.Path(sys.argv[1]), json.loads(sys.argv[2]), rows=int(sys.argv[3]))
except BundleError as error:
    print(json.dumps([str(error), peak() - before]))
"""


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_before_they_go_off(file, name):
    bomb, options, message = bombs()[name]
    pq.write_table(bomb, file, compression="zstd", **options)
    assert file.stat().st_size < 2**18
    # In a process of its own, whose peak of memory is not that of making the bomb.
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(file), json.dumps(WANTED), str(N)],
        capture_output=True,
        text=True,
        check=True,
    )
    said, grown_kib = json.loads(done.stdout)
    assert message in said
    assert grown_kib < 48 * 1024


def test_too_many_rows(file):
    pq.write_table(table(), file)
    with pytest.raises(BundleError, match=r"items\.parquet must have at most 39 rows; got 40"):
        read_columns(file, WANTED, max_rows=39)


def test_too_many_row_groups(file):
    pq.write_table(pa.table({"item_id": ["x"] * 5_000}), file, row_group_size=1)
    with pytest.raises(BundleError, match=r"must be a valid Parquet file: .*size limit"):
        read_columns(file, {"item_id": "strings"})


def test_names_that_are_mistaken_for_a_nested_column(file):
    """A reader that is asked for the column "title" also reads this one."""
    pq.write_table(table(**{"title.en": IDS}), file)
    with pytest.raises(BundleError, match=r"one column title, and none whose name begins with 'title\.'"):
        read_columns(file, WANTED)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(39, "title", None), (3, "tags", None), (39, "tags", ["a", None]), (0, "tags", [None])],
)
def test_nulls_are_named_by_their_row(file, row, column, value):
    values = table().column(column).to_pylist()
    values[row] = value
    changed = table(**{column: pa.array(values, STRINGS if column == "tags" else pa.string())})
    for size in (N, 7):
        pq.write_table(changed, file, row_group_size=size)
        with pytest.raises(BundleError, match=f"{column} must not hold nulls; row {row} does"):
            read_columns(file, WANTED)


# Forged by hand: what no writer writes.


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def struct_of(*fields: tuple[int, int, bytes]) -> bytes:
    """A struct of Thrift's compact protocol: fields of number, type and content."""
    out, last = b"", 0
    for number, kind, content in fields:
        out += bytes([(number - last) << 4 | kind]) + content
        last = number
    return out + b"\0"


def i32(value: int) -> bytes:
    return varint(value * 2 if value >= 0 else -2 * value - 1)


def page(
    kind: int, field: int, values: int, encoding: int, content: bytes = b"", size: int | None = None
) -> bytes:
    n_bytes = len(content) if size is None else size
    of_page = struct_of((1, 5, i32(values)), (2, 5, i32(encoding)))
    header = struct_of(
        (1, 5, i32(kind)), (2, 5, i32(n_bytes)), (3, 5, i32(len(content))), (field, 12, of_page)
    )
    return header + content


def dictionary(*texts: bytes, count: int | None = None) -> bytes:
    content = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return page(2, 7, len(texts) if count is None else count, 0, content)


def chunk_of(content: bytes, values: int, codec: str = "UNCOMPRESSED") -> ColumnChunk:
    return ColumnChunk(0, len(content), values, codec)


def test_sizes_are_those_of_the_longest_entry():
    content = dictionary(b"ab", b"abcde") + page(0, 5, 1_000, 8, b"\0" * 9) + page(0, 5, 10, 0, b"\0" * 50)
    pages = 2 * 4 + 7 + 9 + 50
    assert text_bytes(content, chunk_of(content, 1_010), 10**6) == pages + 1_000 * 5


@pytest.mark.parametrize(
    ("content", "values", "message"),
    [
        (
            page(0, 5, 2**31 - 1, 8),
            3,
            "must have the 3 values that the footer promises; its pages have 2147483647",
        ),
        (b"", 3, "must have the 3 values that the footer promises; its pages have 0"),
        (
            dictionary(b"ab", count=2**31 - 1),
            0,
            "the 2147483647 values in a dictionary that it says; it ends before",
        ),
        (dictionary(b"ab")[:-1], 0, "pages that lie within it"),
        (page(2, 7, 1, 8), 0, "plain dictionaries of at most 16777216 bytes; one has 0 with the encoding 8"),
        (page(0, 5, 1, 0, size=2**31 - 1), 1, "at most 1000000 bytes; its pages have 2147483647 or more"),
        (page(0, 5, -1, 0), 1, "sound headers; one has -1 as field 1"),
        (page(0, 5, 1, 99), 1, "a page has the encoding 99"),
        (page(0, 6, 1, 0), 1, "whole headers; one lacks a part"),
        (struct_of((1, 5, i32(0)), (2, 5, i32(0))), 1, "sound headers; one has None as field 3"),
        (bytes([0x1C] * 20), 1, "flat headers; one nests too deeply"),
        (bytes([0x19]) * 9, 1, "a field of type 9"),
        (bytes([0x15]) + b"\xff" * 20, 1, "a number without an end"),
        (bytes([0x15]) + b"\xff" * 3, 1, "one ends with the file"),
        (bytes([0x18, 0x7F]), 1, "one ends with the file"),
    ],
)
def test_pages_that_lie(content, values, message):
    with pytest.raises(BundleError, match=message):
        text_bytes(content, chunk_of(content, values), 10**6)


@pytest.mark.parametrize("codec", ["GZIP", "SNAPPY", "NONESUCH"])
def test_a_dictionary_that_is_not_compressed_as_it_says(codec):
    content = dictionary(b"abc")
    with pytest.raises(BundleError, match="a dictionary that can be decompressed"):
        text_bytes(content, chunk_of(content, 0, codec), 10**6)


@pytest.mark.parametrize(("begin", "length"), [(-1, 3), (0, 99), (99, 0), (3, -2)])
def test_a_column_outside_the_file(begin, length):
    with pytest.raises(BundleError, match="must lie within the file"):
        text_bytes(b"12345", ColumnChunk(begin, length, 0, "UNCOMPRESSED"), 10)
