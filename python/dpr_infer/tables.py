# Reads items.parquet and examples.parquet, and checks them against the rest of the bundle.

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.items import ItemTable
from dpr_infer.parquet_columns import read_columns

_MAX_EXAMPLES = 65_536


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
        If `read_columns` refuses the file, or an id is empty or appears twice.
    """
    columns = read_columns(
        path, {"item_id": "strings", "title": "strings", "tags": "lists of strings"}, rows=item_count
    )
    table = ItemTable(columns["item_id"], columns["title"], columns["tags"])
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
        If `read_columns` refuses the file, or it repeats a name, or names an item that the catalogue does not have.
    """
    columns = read_columns(path, {"name": "strings", "history": "lists of strings"}, max_rows=_MAX_EXAMPLES)
    examples = dict(zip(columns["name"], columns["history"], strict=True))
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
