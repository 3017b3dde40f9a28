# From checked items and interactions to a Dataset: doubled rows, k-core, order, new item numbers, report.

from dataclasses import dataclass

import numpy as np
import polars as pl

from dpr_train.data.checks import Interactions
from dpr_train.data.dataset import DataReport, Dataset
from dpr_train.data.errors import DataError
from dpr_train.data.items import ItemTable
from dpr_train.data.kcore import IntArray, k_core


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a data set comes from and what may be done with it.

    Parameters
    ----------
    name : str
        Name of the data set.
    sha256 : str
        Checksum of the source.
    licence : str
        What may be done with the data.
    redistributable : bool
        Whether titles and tags may be passed on.
    notes : tuple of str
        For the report.
    """

    name: str
    sha256: str
    licence: str
    redistributable: bool
    notes: tuple[str, ...] = ()


def assemble(
    items: ItemTable, interactions: Interactions, origin: Origin, *, min_interactions: int
) -> Dataset:
    """Build the data set.

    Of rows with the same user, item and timestamp the first is kept. The k-core follows. Then each user's
    items are ordered by time, equal times in the order of the file, and the remaining items numbered in the
    order of the table.

    Parameters
    ----------
    items : ItemTable
        All listed items.
    interactions : Interactions
        All rows of the source.
    origin : Origin
        Name, checksum and licence.
    min_interactions : int
        The k of the k-core, >= 1.

    Returns
    -------
    Dataset
        At least one user and one item.

    Raises
    ------
    DataError
        If nothing is left after the k-core, or ``min_interactions`` < 1.
    """
    if min_interactions < 1:
        raise DataError("bad min_interactions", expected="at least 1", got=str(min_interactions))
    frame = pl.DataFrame(
        {"user": interactions.users, "item": interactions.item_rows, "time": interactions.times}
    )
    first = frame.select(pl.struct("user", "item", "time").is_first_distinct()).to_series()
    once = frame.filter(first)
    users, numbers = _number(once["user"])
    rows = once["item"].to_numpy().astype(np.int64)
    times = once["time"].to_numpy()
    kept = k_core(numbers, rows, min_interactions)
    if not kept.any():
        raise DataError(
            f"nothing is left of {origin.name!r} after the {min_interactions}-core",
            expected=f"users and items with at least {min_interactions} interactions each",
            got=f"{len(once)} interactions of {len(users)} users with {len(np.unique(rows))} items",
        )
    user_ids, sequences, item_rows = _sequences(users, numbers[kept], rows[kept], times[kept])
    report = DataReport(
        rows_read=len(frame),
        doubled_rows=len(frame) - len(once),
        items_listed=len(items),
        users_before=len(users),
        items_before=len(np.unique(rows)),
        interactions_before=len(once),
        users=len(user_ids),
        items=len(item_rows),
        interactions=int(kept.sum()),
        min_interactions=min_interactions,
        notes=origin.notes,
    )
    return Dataset(
        name=origin.name,
        items=items.take(item_rows),
        user_ids=user_ids,
        sequences=sequences,
        report=report,
        source_sha256=origin.sha256,
        licence=origin.licence,
        redistributable=origin.redistributable,
    )


def _number(users: pl.Series) -> tuple[list[str], IntArray]:
    """Return the users' names in the order of their first row, and for each row the user's place there."""
    names = users.unique(maintain_order=True)
    numbers = users.replace_strict(names, range(len(names)), return_dtype=pl.Int64)
    return names.to_list(), numbers.to_numpy().astype(np.int64)


def _sequences(
    names: list[str], users: IntArray, rows: IntArray, times: np.ndarray
) -> tuple[tuple[str, ...], tuple[IntArray, ...], IntArray]:
    """Return the remaining users, their sequences over the remaining items, and those items' old rows."""
    order = np.lexsort((times, users))  # a stable sort: equal times keep the order of the file
    item_rows, renumbered = np.unique(rows[order], return_inverse=True)
    remaining, starts = np.unique(users[order], return_index=True)
    sequences = np.split(renumbered.astype(np.int64), starts[1:])
    return tuple(names[user] for user in remaining), tuple(sequences), item_rows.astype(np.int64)
