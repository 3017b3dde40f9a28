# Plain separated text without quoting, as the MovieLens files are: one record a line, a fixed number of
# fields.

from collections.abc import Sequence

import numpy as np
import polars as pl

from dpr_train.data.errors import DataError, shown
from dpr_train.data.table import Table


def decoded_lines(data: bytes, file: str, encoding: str) -> list[str]:
    """Return the lines of a text, without their ends.

    Parameters
    ----------
    data : bytes
        The file's content.
    file : str
        The file, as messages name it.
    encoding : str
        Such as ``"utf-8"`` or ``"latin-1"``.

    Returns
    -------
    list of str
        Lines as line feeds part them; a carriage return before a line feed goes too.

    Raises
    ------
    DataError
        If the bytes are not of the encoding; the message names the line.
    """
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            "bad encoding",
            file=file,
            row=f"line {line}",
            expected=encoding,
            got=shown(data[error.start : error.end]),
        ) from error
    # str.splitlines would also split at characters such as U+0085, which latin-1 text may contain.
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_lines(
    data: bytes,
    file: str,
    *,
    separator: str,
    columns: Sequence[str],
    encoding: str,
    header: str | None = None,
) -> Table:
    """Read separated text.

    Parameters
    ----------
    data : bytes
        The file's content.
    file : str
        The file, as messages name it.
    separator : str
        Between two fields.
    columns : sequence of str
        Names to give to the fields; every line must have as many.
    encoding : str
        Such as ``"utf-8"`` or ``"latin-1"``.
    header : str, optional
        What the first line must be; by default there is no header.

    Returns
    -------
    Table
        Columns of strings, one row a line; empty lines are skipped.

    Raises
    ------
    DataError
        If the encoding, the header or a line's number of fields is wrong.
    """
    lines = decoded_lines(data, file, encoding)
    if header is not None and lines[0] != header:
        raise DataError(
            "unexpected header", file=file, row="line 1", expected=shown(header), got=shown(lines[0])
        )
    first = 0 if header is None else 1
    numbers = [n for n, line in enumerate(lines[first:], start=first + 1) if line]
    records = [lines[number - 1].split(separator) for number in numbers]
    for number, record in zip(numbers, records, strict=True):
        if len(record) != len(columns):
            raise DataError(
                "wrong number of fields",
                file=file,
                row=f"line {number}",
                expected=f"{len(columns)} fields separated by {separator!r}",
                got=f"{len(record)} in {shown(lines[number - 1])}",
            )
    frame = pl.DataFrame(records, schema=dict.fromkeys(columns, pl.String), orient="row")
    line_numbers = np.array(numbers, dtype=np.int64)
    return Table(file=file, frame=frame, locate=lambda row: f"line {line_numbers[row]}")
