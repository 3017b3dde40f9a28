# From tables as read to checked columns: the rules that hold for every source, MovieLens and the user's own.

from dataclasses import dataclass

import polars as pl

from dpr_train.data.errors import DataError
from dpr_train.data.items import ItemTable
from dpr_train.data.table import Table, first_true
from dpr_train.data.timestamps import parse_timestamps

TAG_SEPARATOR = "|"


@dataclass(frozen=True, kw_only=True, eq=False)
class Interactions:
    """Checked interactions, in the order of the file.

    Parameters
    ----------
    users : polars.Series of String
        External user ids, length R.
    item_rows : polars.Series of Int64
        Rows of the item table, 0..N-1, length R.
    times : polars.Series of Int64 or Float64
        Values that sort by time, length R.
    """

    users: pl.Series
    item_rows: pl.Series
    times: pl.Series


def check_items(table: Table) -> ItemTable:
    """Check the item table: columns ``id``, ``title``, ``tags`` and, if there, ``text``.

    Parameters
    ----------
    table : Table
        ``tags`` holds lists of strings, or strings separated by ``|``. Titles, tags and texts are trimmed,
        empty tags dropped and a tag that an item has twice kept once.

    Returns
    -------
    ItemTable
        One row for each of the table's, in the same order.

    Raises
    ------
    DataError
        If a column is missing or of another type, the table is empty, or an id or title is empty or an id
        doubled.
    """
    table.require(["id", "title", "tags"])
    ids = table.strings("id")
    titles = table.strings("title").str.strip_chars()
    _refuse_empty(table, "id", ids)
    _refuse_empty(table, "title", titles)
    doubled = first_true(~ids.is_first_distinct())
    if doubled is not None:
        raise table.error(
            "doubled item id", column="id", index=doubled, expected="each id once", got=ids[doubled]
        )
    texts = table.strings("text").str.strip_chars() if "text" in table.frame.columns else None
    return ItemTable(
        ids=tuple(ids), titles=tuple(titles), tags=_tags(table), texts=None if texts is None else tuple(texts)
    )


def check_interactions(table: Table, items: ItemTable) -> Interactions:
    """Check the interactions: columns ``user``, ``item``, ``timestamp`` and, if there, ``rating``.

    Parameters
    ----------
    table : Table
        One interaction a row. A rating must be a finite number; it is not used further.
    items : ItemTable
        The items that interactions may name.

    Returns
    -------
    Interactions
        One row for each of the table's, in the same order.

    Raises
    ------
    DataError
        If a column is missing or of another type, the table is empty, an id is empty, an item unknown, or a
        timestamp or rating bad.
    """
    table.require(["user", "item", "timestamp"])
    users, item_ids = table.strings("user"), table.strings("item")
    _refuse_empty(table, "user", users)
    _refuse_empty(table, "item", item_ids)
    rows = item_ids.replace_strict(items.ids, range(len(items)), default=None, return_dtype=pl.Int64)
    unknown = first_true(rows.is_null())
    if unknown is not None:
        raise table.error(
            "unknown item",
            column="item",
            index=unknown,
            expected="an id of the item table",
            got=item_ids[unknown],
        )
    times = parse_timestamps(table, "timestamp")
    if "rating" in table.frame.columns:
        _check_ratings(table)
    return Interactions(users=users, item_rows=rows, times=times)


def _refuse_empty(table: Table, column: str, values: pl.Series) -> None:
    """Refuse a value that is empty or blank."""
    index = first_true(values.str.strip_chars() == "")
    if index is not None:
        raise table.error(
            f"empty {column}", column=column, index=index, expected="some text", got=values[index]
        )


def _check_ratings(table: Table) -> None:
    """Refuse a rating that is not a finite number."""
    values = table.frame["rating"]
    textual = values if values.dtype.is_numeric() else table.strings("rating")
    numbers = textual.cast(pl.Float64, strict=False)
    index = first_true(~numbers.is_finite().fill_null(value=False))
    if index is not None:
        raise table.error(
            "bad rating", column="rating", index=index, expected="a finite number", got=values[index]
        )


def _tags(table: Table) -> tuple[tuple[str, ...], ...]:
    """Return each item's tags, trimmed, without empty ones, none twice."""
    values = table.frame["tags"]
    if values.dtype == pl.List(pl.String):
        lists = [list(tags) if tags is not None else [] for tags in values]
    elif isinstance(values.dtype, pl.List):
        raise DataError(
            "wrong type of column",
            file=table.file,
            column="tags",
            expected="lists of strings, or strings separated by '|'",
            got=str(values.dtype),
        )
    else:
        lists = [tags.split(TAG_SEPARATOR) for tags in table.strings("tags")]
    return tuple(_clean(tags) for tags in lists)


def _clean(tags: list[str | None]) -> tuple[str, ...]:
    """Trim tags, drop empty ones and keep the first of equal ones."""
    trimmed = (tag.strip() for tag in tags if tag is not None)
    return tuple(dict.fromkeys(tag for tag in trimmed if tag))
