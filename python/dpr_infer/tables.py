# Reads items.parquet and examples.parquet, and checks them against the rest of the bundle.

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.items import ItemTable


def read_items(path: Path, item_count: int) -> ItemTable:
    """Read the items of a bundle.

    Parameters
    ----------
    path : Path
        The Parquet file.
    item_count : int
        Number of rows that the manifest states.

    Returns
    -------
    ItemTable
        Ids, titles and tags by row.

    Raises
    ------
    BundleError
        If the file is not Parquet, has another number of rows, lacks a column, has one of another type, holds
        nulls, or has an id that is empty or appears twice.
    """
    columns = _read(path, {"item_id": _is_string, "title": _is_string, "tags": _is_string_list}, item_count)
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}  # items share few tag sets: keep each once
    tags = [shared.setdefault(key, key) for key in map(tuple, columns["tags"])]
    table = ItemTable(columns["item_id"], columns["title"], tags)
    if "" in table.row_of:
        raise BundleError(f"{path.name}: item_id must not be empty; it is in row {table.row_of['']}")
    if len(table.row_of) != len(table.ids):
        twice = next(i for row, i in enumerate(table.ids) if table.row_of[i] != row)
        raise BundleError(f"{path.name}: item_id must be unique; {twice!r} appears more than once")
    return table


def read_examples(path: Path, items: ItemTable) -> dict[str, tuple[str, ...]]:
    """Read the example histories of a bundle.

    Parameters
    ----------
    path : Path
        The Parquet file.
    items : ItemTable
        The bundle's items.

    Returns
    -------
    dict of str to tuple of str
        Histories by name, each oldest item first.

    Raises
    ------
    BundleError
        If the file is not Parquet, lacks a column, has one of another type, holds nulls, repeats a name, or
        names an item that the catalogue does not have.
    """
    columns = _read(path, {"name": _is_string, "history": _is_string_list}, None)
    examples = {name: tuple(ids) for name, ids in zip(columns["name"], columns["history"], strict=True)}
    if len(examples) != len(columns["name"]):
        raise BundleError(
            f"{path.name}: name must be unique; one of {len(columns['name'])} appears more than once"
        )
    for name, history in examples.items():
        unknown = [item_id for item_id in history if item_id not in items]
        if unknown:
            raise BundleError(
                f"{path.name}: history of {name!r} must name items of the catalogue; {unknown[0]!r} is none"
            )
    return examples


def check_tag_bits(items: ItemTable, tags: tuple[str, ...], tag_bits: NDArray[np.uint64]) -> None:
    """Check that the bitsets which filters read say the same as the tags which people read.

    Parameters
    ----------
    items : ItemTable
        The items, N of them.
    tags : tuple of str
        Names of the tags in the order of the bits. A tag of an item that is not among them has no bit.
    tag_bits : ndarray of uint64, shape (N, W)
        The bitsets.

    Raises
    ------
    BundleError
        If an item's bits are not its tags, naming the first such item.
    """
    number = {tag: g for g, tag in enumerate(tags)}
    words = tag_bits.shape[1]
    by_set: dict[tuple[str, ...], int] = {}
    distinct: list[int] = []
    code = np.empty(len(items), dtype=np.int64)
    for row, names in enumerate(items.tags):
        if names not in by_set:
            by_set[names] = len(distinct)
            distinct.append(sum({1 << number[name] for name in names if name in number}))
        code[row] = by_set[names]
    expected = np.array([[d >> 64 * w & 2**64 - 1 for w in range(words)] for d in distinct], dtype=np.uint64)
    wrong = np.flatnonzero((expected[code] != tag_bits).any(axis=1))
    if wrong.size:
        row = int(wrong[0])
        raise BundleError(
            f"catalogue.safetensors: tag_bits of row {row} must say what items.parquet says, "
            f"{', '.join(items.tags[row]) or 'no tags'}; {wrong.size} rows differ"
        )


def _read(path: Path, wanted: dict[str, Any], row_count: int | None) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if row_count is not None and rows != row_count:
                raise BundleError(f"{path.name} must have {row_count} rows; got {rows}")
            schema = file.schema_arrow
            for name, check in wanted.items():
                if schema.names.count(name) != 1:
                    raise BundleError(
                        f"{path.name} must have one column {name}; got {', '.join(schema.names)[:200]}"
                    )
                if not check(pa.types, schema.field(name).type):
                    kind = "strings" if check is _is_string else "lists of strings"
                    raise BundleError(f"{path.name}: {name} must hold {kind}; got {schema.field(name).type}")
            table = file.read(columns=list(wanted), use_threads=False)
            table.validate(full=True)
            columns = {name: table.column(name).to_pylist() for name in wanted}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path.name} must be a valid Parquet file: {error}") from None
    for name, values in columns.items():
        _refuse_nulls(path, name, values)
    return columns


def _refuse_nulls(path: Path, name: str, values: list[Any]) -> None:
    for row, value in enumerate(values):
        if value is None or (isinstance(value, list) and None in value):
            raise BundleError(f"{path.name}: {name} must not hold nulls; row {row} does")


def _is_string(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_string_list(types: Any, kind: Any) -> bool:
    is_list = types.is_list(kind) or types.is_large_list(kind)
    return bool(is_list and _is_string(types, kind.value_type))
