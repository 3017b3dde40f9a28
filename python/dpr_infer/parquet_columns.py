# Reads columns of strings, and of lists of strings, from Parquet files of any origin. How large they will be in memory
# is known before they are decoded, and strings that occur often are kept once.

from __future__ import annotations

import itertools
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.parquet_footer import Footer, read_footer
from dpr_infer.parquet_pages import text_bytes

Kind = Literal["strings", "lists of strings"]
# A file may hold so much however few its rows are, and so much a row.
_LEAST_VALUES, _VALUES_A_ROW = 2**20, 256
_LEAST_BYTES, _BYTES_A_ROW = 2**26, 2**14
# Of so few texts (tens of milliseconds at most) Python shares the equal ones. Arrow's own way is faster, but what it
# needs, pyarrow.compute, takes 30 ms to import, a fifth of opening a small bundle.
_FEW = 2**17
# Lists in the footer: columns, nested ones included, and row groups.
_MAX_FOOTER_LIST = 4096
_MAX_FOOTER_STRING = 2**24


def read_columns(
    path: Path, wanted: Mapping[str, Kind], *, rows: int | None = None, max_rows: int = 2**31
) -> dict[str, list[Any]]:
    """Read some columns of a Parquet file.

    Parameters
    ----------
    path : Path
        The file.
    wanted : mapping of str to {"strings", "lists of strings"}
        The columns, and what they must hold.
    rows : int, optional
        How many rows there must be.
    max_rows : int
        How many there may be.

    Returns
    -------
    dict of str to list
        The columns: lists of str, or of tuples of str. Equal strings, and equal tuples, are one object.

    Raises
    ------
    BundleError
        If the file is not Parquet, has another number of rows, lacks a column, has one of another type or with nulls,
        or may take far more memory than its rows explain: 16 KiB of text or 256 entries of lists a row on the average,
        where that is more than 64 MiB or 2^20 entries.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    limits = {
        "thrift_container_size_limit": _MAX_FOOTER_LIST,
        "thrift_string_size_limit": _MAX_FOOTER_STRING,
    }
    try:
        content = _mapped(path)
        footer = _footer(path.name, content, rows, max_rows)
        with pq.ParquetFile(path, **limits) as file:
            _check_types(path.name, file.schema_arrow, wanted, pa.types)
            for name in wanted:
                _check_size(f"{path.name}: {name}", footer, _leaf(path.name, file.schema, name), content)
            table = file.read(columns=list(wanted), use_threads=False)
        table.validate(full=True)
        if table.num_rows != footer.rows:
            raise BundleError(
                f"{path.name} must have {footer.rows} rows, as it says; it has {table.num_rows}"
            )
        return {
            name: _column(f"{path.name}: {name}", table.column(name), kind) for name, kind in wanted.items()
        }
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # ValueError: an empty file
        raise BundleError(f"{path.name} must be a valid Parquet file: {error}") from None


def _footer(name: str, content: Any, rows: int | None, max_rows: int) -> Footer:
    try:
        footer = read_footer(content)
    except BundleError as error:
        raise BundleError(f"{name} {error}") from None
    if rows is not None and footer.rows != rows:
        raise BundleError(f"{name} must have {rows} rows; got {footer.rows}")
    if footer.rows > max_rows:
        raise BundleError(f"{name} must have at most {max_rows} rows; got {footer.rows}")
    return footer


def _check_types(name: str, schema: Any, wanted: Mapping[str, Kind], types: Any) -> None:
    for column, kind in wanted.items():
        if schema.names.count(column) != 1:
            raise BundleError(f"{name} must have one column {column}; got {', '.join(schema.names)[:200]}")
        got = schema.field(column).type
        if not (_is_string(types, got) if kind == "strings" else _is_string_list(types, got)):
            raise BundleError(f"{name}: {column} must hold {kind}; got {got!s:.200}")


def _leaf(name: str, schema: Any, column: str) -> int:
    """Return the number of the one leaf that reading a column will decode."""
    paths = [schema.column(i).path for i in range(len(schema))]
    found = [i for i, path in enumerate(paths) if path == column or path.startswith(column + ".")]
    if len(found) != 1:
        raise BundleError(
            f"{name} must have one column {column}, and none whose name begins with {column + '.'!r}; "
            f"got {', '.join(paths)[:200]}"
        )
    return found[0]


def _check_size(place: str, footer: Footer, leaf: int, content: Any) -> None:
    """Refuse a column that would take far more memory than its rows explain."""
    most_values = max(_LEAST_VALUES, _VALUES_A_ROW * footer.rows)
    most_bytes = max(_LEAST_BYTES, _BYTES_A_ROW * footer.rows)
    values = n_bytes = 0
    for columns in footer.columns:
        if leaf >= len(columns):
            raise BundleError(f"{place} must be in every row group; it is not")
        chunk = columns[leaf]
        values += chunk.values
        if values > most_values:
            raise BundleError(f"{place} must have at most {most_values} entries; it has {values} or more")
        if not chunk.values:  # no page is read then, and where one would lie is not always said
            continue
        try:
            n_bytes += text_bytes(content, chunk, most_bytes - n_bytes)
        except BundleError as error:
            raise BundleError(f"{place} {error}") from None
        if n_bytes > most_bytes:
            raise BundleError(f"{place} must have at most {most_bytes} bytes; it may have {n_bytes} or more")


def _column(place: str, column: Any, kind: Kind) -> list[Any]:
    result: list[Any] = []
    known: dict[Any, Any] = {}
    for chunk in column.chunks:
        _refuse_null_at(place, len(result), chunk)
        texts = chunk if kind == "strings" else chunk.values
        offsets = None if kind == "strings" else chunk.offsets.to_numpy()
        if offsets is not None and texts.null_count:
            _refuse_null_at(place, len(result), texts, offsets)
        listed = _shared(texts, known)
        result += listed if offsets is None else _tuples(listed, offsets.tolist(), known)
    return result


def _shared(texts: Any, known: dict[Any, Any]) -> list[str]:
    """Return texts as Python's, equal ones as one object."""
    if len(texts) <= _FEW:
        return [known.setdefault(text, text) for text in texts.to_pylist()]
    by_number = texts.dictionary_encode()
    values = [known.setdefault(text, text) for text in by_number.dictionary.to_pylist()]
    return [values[number] for number in by_number.indices.to_numpy().tolist()]


def _refuse_null_at(place: str, first: int, array: Any, offsets: NDArray[np.int32] | None = None) -> None:
    """Refuse nulls, naming the row: `first` and on for those of an array, or that whose list holds it."""
    if array.null_count:
        at = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        row = at if offsets is None else int(np.searchsorted(offsets, at, side="right")) - 1
        raise BundleError(f"{place} must not hold nulls; row {first + row} does")


def _tuples(texts: list[str], offsets: list[int], known: dict[Any, Any]) -> list[tuple[str, ...]]:
    entries = (tuple(texts[begin:end]) for begin, end in itertools.pairwise(offsets))
    return [known.setdefault(entry, entry) for entry in entries]


def _is_string(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_string_list(types: Any, kind: Any) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind)
    return bool(is_list and _is_string(types, kind.value_type))


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
