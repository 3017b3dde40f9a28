# The user's own files: CSV (UTF-8, quoted as RFC 4180 says) and Parquet, read into tables that know their
# lines.

import csv
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from dpr_train.data.errors import DataError, shown
from dpr_train.data.table import Table

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

SUFFIXES = (".csv", ".parquet")
_BLOCK_ROWS = 100_000  # rows held as Python strings at one time


def read_own_file(path: Path) -> Table:
    """Read a CSV or Parquet file.

    Parameters
    ----------
    path : Path
        A file that ends in ``.csv`` or ``.parquet``.

    Returns
    -------
    Table
        CSV: columns of strings, places are lines of the file, the header being line 1. Parquet: the columns
        as they are, places are rows, the first being row 1.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise DataError("no such file", file=str(path), expected=f"a file {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    if path.suffix == ".csv":
        return _read_csv(path)
    raise DataError("unknown kind of file", file=str(path), expected=" or ".join(SUFFIXES), got=path.suffix)


def _read_parquet(path: Path) -> Table:
    """Read a Parquet file."""
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError("cannot read", file=str(path), expected="a Parquet file", got=str(error)) from error
    return Table(file=str(path), frame=frame, locate=lambda row: f"row {row + 1}")


def _read_csv(path: Path) -> Table:
    """Read a CSV file.

    Python's reader is slower than those of polars and pyarrow, but alone in what is needed here: it refuses a
    quote that is never closed and a line with missing fields, and knows the line of each record.
    """
    line_numbers = array("q")
    blocks: list[pl.DataFrame] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = _header(path, reader)
            schema = dict.fromkeys(names, pl.String)
            for block in _blocks(path, reader, len(names), line_numbers):
                blocks.append(pl.DataFrame(block, schema=schema, orient="row"))
    except UnicodeDecodeError as error:
        raise _encoding_error(path) from error
    except csv.Error as error:
        raise DataError(
            "bad CSV",
            file=str(path),
            row=f"line {reader.line_num}",
            expected="fields separated by ',', those with quotes or line ends in double quotes",
            got=str(error),
        ) from error
    frame = pl.concat(blocks) if blocks else pl.DataFrame(schema=schema)
    return Table(file=str(path), frame=frame, locate=lambda row: f"line {line_numbers[row]}")


def _header(path: Path, reader: "CsvReader") -> list[str]:
    """Return the column names in the first line."""
    names = [name.strip() for name in next(reader, [])]
    if not names or not all(names) or len(set(names)) != len(names):
        raise DataError(
            "bad header" if names else "the file is empty or its first line is",
            file=str(path),
            row="line 1",
            expected="different column names, none empty",
            got=shown(names),
        )
    return names


def _blocks(
    path: Path, reader: "CsvReader", n_columns: int, line_numbers: "array[int]"
) -> Iterator[list[list[str]]]:
    """Yield the records in blocks, noting the line on which each starts; empty lines are skipped."""
    block: list[list[str]] = []
    previous_end = reader.line_num
    for record in reader:
        start, previous_end = previous_end + 1, reader.line_num
        if not record:
            continue
        if len(record) != n_columns:
            raise DataError(
                "wrong number of fields",
                file=str(path),
                row=f"line {start}",
                expected=f"{n_columns} as in the header",
                got=f"{len(record)} in {shown(record)}",
            )
        block.append(record)
        line_numbers.append(start)
        if len(block) == _BLOCK_ROWS:
            yield block
            block = []
    if block:
        yield block


def _encoding_error(path: Path) -> DataError:
    """Find the first line that is not UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                got = shown(line[error.start : error.end])
                return DataError(
                    "bad encoding", file=str(path), row=f"line {number}", expected="UTF-8", got=got
                )
    return DataError("bad encoding", file=str(path), expected="UTF-8", got="an incomplete character")
