# A file of items that people write: CSV or Parquet with id, title, tags and perhaps text (docs/data.md, "Own data").
# What is wrong in it is told by column and line.

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpr_infer.errors import QueryError

TAG_SEPARATOR = "|"
_COLUMNS = ("id", "title", "tags")
_TEXT = "text"  # may be missing
_MAX_FIELD = 2**24  # characters of one field of a CSV file


@dataclass(frozen=True, slots=True)
class ItemFile:
    """What a file of items says.

    Attributes
    ----------
    ids, titles : list of str, length n
        Ids as they stand there, titles without blanks around them.
    tags : list of tuple of str, length n
        Tags, likewise.
    texts : list of str, length n, or None
        Texts, likewise; None where the file has no such column.
    ignored : tuple of str
        Columns that are not read.
    """

    ids: list[str]
    titles: list[str]
    tags: list[tuple[str, ...]]
    texts: list[str] | None
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a file: values by column, and what a row is called in messages."""

    columns: Mapping[str, Sequence[Any]]
    ignored: tuple[str, ...]
    place: Callable[[int], str]


def read_item_file(path: Path) -> ItemFile:
    """Read a file of items.

    Parameters
    ----------
    path : Path
        ``.csv`` (UTF-8, comma, a header) or ``.parquet``, with the columns ``id`` (text, each once; in Parquet also
        integers), ``title`` (not blank) and ``tags`` (separated by ``|``; in Parquet also a list of strings), and
        perhaps ``text``.

    Returns
    -------
    ItemFile
        The items, in the order of the file.

    Raises
    ------
    QueryError
        If the file breaks one of these rules; the message names column and line.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise QueryError(f"{path.name} must be a .csv or .parquet file of items")
    try:
        rows = readers[path.suffix](path)
    except OSError as error:
        raise QueryError(f"{path}: cannot be read: {error.strerror or error}") from error
    return ItemFile(
        list(_each(path, rows, "id", _id)),
        list(_each(path, rows, "title", _title)),
        list(_each(path, rows, "tags", _tags)),
        list(_each(path, rows, _TEXT, _text)) if _TEXT in rows.columns else None,
        rows.ignored,
    )


def _each(path: Path, rows: _Rows, column: str, read: Callable[[Any], Any]) -> Iterator[Any]:
    seen: set[str] = set()
    for number, value in enumerate(rows.columns[column]):
        try:
            result = read(value)
            if column == "id" and result in seen:
                raise ValueError("an id that stands in no other row")
        except ValueError as expected:
            raise QueryError(
                f"{path.name}, column {column!r}, {rows.place(number)}: expected {expected}; got {value!r:.100}"
            ) from None
        if column == "id":
            seen.add(result)
        yield result


def _id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not blank")
    return value


def _title(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not blank")
    return value.strip()


def _tags(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    entries = value.split(TAG_SEPARATOR) if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"tags separated by {TAG_SEPARATOR!r}, or a list of them")
    return tuple(dict.fromkeys(entry.strip() for entry in entries if entry.strip()))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value.strip()


def _check_header(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are not read."""
    if any(names.count(name) != 1 for name in _COLUMNS):
        raise QueryError(
            f"{path.name} must have each of the columns {', '.join(_COLUMNS)} once; got {', '.join(names)}"
        )
    if names.count(_TEXT) > 1:
        raise QueryError(f"{path.name} must have the column {_TEXT} once at most; got {', '.join(names)}")
    return tuple(name for name in names if name not in (*_COLUMNS, _TEXT))


def _read_columns(names: Sequence[str]) -> list[str]:
    return [name for name in (*_COLUMNS, _TEXT) if name in names]


def _read_csv(path: Path) -> _Rows:
    limit = csv.field_size_limit(_MAX_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            ignored = _check_header(path, header)
            table, lines = _csv_rows(path, reader, len(header))
    except (csv.Error, UnicodeDecodeError) as error:
        raise QueryError(f"{path.name} must be a CSV file in UTF-8: {error}") from None
    finally:
        csv.field_size_limit(limit)
    places = {name: header.index(name) for name in _read_columns(header)}
    columns = {name: [row[place] for row in table] for name, place in places.items()}
    return _Rows(columns, ignored, lambda number: f"line {lines[number]}")


def _csv_rows(path: Path, reader: Any, width: int) -> tuple[list[list[str]], list[int]]:
    """Return the rows that are not empty, and the line that each begins on."""
    table: list[list[str]] = []
    lines: list[int] = []
    line = reader.line_num + 1
    for row in reader:
        if row:
            if len(row) != width:
                raise QueryError(f"{path.name}, line {line}: expected {width} fields; got {len(row)}")
            table.append(row)
            lines.append(line)
        line = reader.line_num + 1
    return table, lines


def _read_parquet(path: Path) -> _Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            ignored = _check_header(path, file.schema_arrow.names)
            wanted = _read_columns(file.schema_arrow.names)
            table = file.read(columns=wanted)
            columns = {name: table.column(name).to_pylist() for name in wanted}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise QueryError(f"{path.name} must be a Parquet file: {error}") from None
    return _Rows(columns, ignored, lambda number: f"row {number + 1}")
