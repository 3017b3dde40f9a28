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
    with pytest.raises(BundleError, match=r"items\.parquet must list at most 4096 columns and row groups"):
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
    levels = ((3, 5, i32(3)), (4, 5, i32(3))) if kind == 0 else ()
    of_page = struct_of((1, 5, i32(values)), (2, 5, i32(encoding)), *levels)
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
        (page(0, 5, -1, 0), 1, "sound structs; one has -1 as field 1"),
        (page(0, 5, 1, 99), 1, "a page has the encoding 99"),
        (page(0, 6, 1, 0), 1, "whole headers; one lacks a part"),
        (struct_of((1, 5, i32(0)), (2, 5, i32(0))), 1, "sound structs; one has None as field 3"),
        (bytes([0x1C] * 20), 1, "flat structs; one nests too deeply"),
        (bytes([0x1A, 0]), 1, "a field of type 10"),
        (bytes([0x1B, 0]), 1, "a field of type 11"),
        (bytes([0x19] * 20), 1, "flat structs; one nests too deeply"),
        (bytes([0x19] + [0x19] * 30 + [0] * 30), 1, "flat structs; one nests too deeply"),
        (
            bytes([0x19, 0xF5]) + b"\xff" * 4 + b"\x07" + b"\0" * 30,
            1,
            "whole structs; one ends with the file",
        ),
        (bytes([0x15, 2, 0x05, 2, 2]), 1, "the field 1 twice or out of range"),
        (bytes([0x05, 1, 0]), 1, "the field -1 twice or out of range"),
        (bytes([0x15]) + varint(2**32), 1, "a number of more than 32 bits"),
        (bytes([0x14]) + varint(2**16), 1, "a number of more than 16 bits"),
        (bytes([0x15]) + b"\xff" * 20, 1, "a number without an end"),
        (bytes([0x15]) + b"\xff" * 3, 1, "one ends with the file"),
        (bytes([0x18, 0x7F]), 1, "one ends with the file"),
    ],
)
def test_pages_that_lie(content, values, message):
    with pytest.raises(BundleError, match=message):
        text_bytes(content, chunk_of(content, values), 10**6)


@pytest.mark.parametrize("codec", ["GZIP", "SNAPPY"])
def test_a_dictionary_that_is_not_compressed_as_it_says(codec):
    content = dictionary(b"abc")
    with pytest.raises(BundleError, match="a dictionary that can be decompressed"):
        text_bytes(content, chunk_of(content, 0, codec), 10**6)


def test_a_dictionary_that_is_compressed_as_nobody_does():
    content = dictionary(b"abc")
    with pytest.raises(
        BundleError, match="compressed by one of SNAPPY, GZIP, BROTLI, ZSTD, LZ4_RAW or not at all; got LZO"
    ):
        text_bytes(content, chunk_of(content, 0, "LZO"), 10**6)


def i64s(*values: int) -> bytes:
    return bytes([len(values) << 4 | 6]) + b"".join(map(i32, values))


def structs(*entries: bytes) -> bytes:
    return bytes([len(entries) << 4 | 12]) + b"".join(entries)


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


def footer(group_rows: int = 1, **changes: tuple[int, int, bytes] | None) -> bytes:
    """A file of one column and one row, but for what is changed in the column's metadata."""
    data = page(0, 5, 1, 0, struct.pack("<I", 1) + b"x")
    fields = {
        "type": (1, 5, i32(6)),
        "encodings": (2, 9, bytes([0x15, 0])),
        "path": (3, 9, bytes([0x18]) + text(b"item_id")),
        "codec": (4, 5, i32(0)),
        "values": (5, 6, i32(1)),
        "size": (6, 6, i32(len(data))),
        "stored": (7, 6, i32(len(data))),
        "offset": (9, 6, i32(4)),
    } | changes
    column = struct_of(
        (2, 6, i32(4)), (3, 12, struct_of(*(field for field in fields.values() if field is not None)))
    )
    group = struct_of((1, 9, structs(column)), (2, 6, i32(len(data))), (3, 6, i32(group_rows)))
    schema = structs(
        struct_of((4, 8, text(b"schema")), (5, 5, i32(1))),
        struct_of((1, 5, i32(6)), (3, 5, i32(0)), (4, 8, text(b"item_id")), (6, 5, i32(0))),
    )
    root = struct_of((1, 5, i32(1)), (2, 9, schema), (3, 6, i32(1)), (4, 9, structs(group)))
    return b"PAR1" + data + root + struct.pack("<I", len(root)) + b"PAR1"


def test_a_file_by_hand_is_one(file):
    file.write_bytes(footer())
    assert read_columns(file, {"item_id": "strings"}, rows=1) == {"item_id": ["x"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (footer(group_rows=2), "must have row groups of 1 rows in all; they have 2"),
        (footer(group_rows=-1), "one has -1 as field 3"),
        (footer(codec=(4, 5, i32(8))), "must be compressed by one of UNCOMPRESSED, .*; got the number 8"),
        (footer(codec=(4, 5, i32(5))), "must be a valid Parquet file|item_id"),
        (footer(offset=(9, 6, i32(-4))), "one has -4 as field 9"),
        (footer(offset=None), "one has None as field 9"),
        (footer(offset=(9, 6, i32(40))), "item_id must"),
        (
            footer(values=(5, 6, i32(2**40))),
            "item_id must have at most 1048576 entries; it has 1099511627776",
        ),
        (footer(values=(5, 6, i32(2))), "the 2 values that the footer promises; its pages have 1"),
        (footer(stored=(7, 6, i32(10**9))), "item_id must lie within the file"),
        (footer()[4:], "does not begin and end as one"),
        (footer()[:-4], "does not begin and end as one"),
        (footer()[:-8] + b"\xff" * 4 + b"PAR1", "its footer is longer than it"),
        (footer()[:-9] + b"\x07" + footer()[-8:], "whole structs|does not end where it says|sound structs"),
        (b"PAR1PAR1", "does not begin and end as one"),
        (b"", "cannot mmap an empty file"),
    ],
)
def test_footers_that_lie(file, content, message):
    file.write_bytes(content)
    with pytest.raises(BundleError, match=rf"^items\.parquet.* {message}|^items\.parquet:? {message}"):
        read_columns(file, {"item_id": "strings"})


def test_a_footer_over_which_arrow_ends_the_process(file):
    """pyarrow must not be asked about the column; reading it raises as it should."""
    statistics = struct_of((1, 6, i32(1)), (3, 9, i64s(1, 2, 3, 4)))
    file.write_bytes(footer(statistics=(16, 12, statistics)))
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(file), json.dumps({"item_id": "strings"}), "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "histogram size mismatch" in done.stdout or done.stdout == ""  # older ones do not look at it


@pytest.mark.parametrize(("begin", "length"), [(-1, 3), (0, 99), (99, 0), (3, -2)])
def test_a_column_outside_the_file(begin, length):
    with pytest.raises(BundleError, match="must lie within the file"):
        text_bytes(b"12345", ColumnChunk(begin, length, 0, "UNCOMPRESSED"), 10)
