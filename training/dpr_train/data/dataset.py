# What every loader returns: items, users' sequences, and a report of what was read and dropped on the way.

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dpr_train.data.errors import DataError
from dpr_train.data.items import BoolArray, ItemTable

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Counts of what was read, what was dropped and what is left.

    Parameters
    ----------
    rows_read : int
        Rows of the interaction file.
    doubled_rows : int
        Rows left out because an earlier row has the same user, item and timestamp.
    items_listed : int
        Rows of the item file, items without interactions included.
    users_before, items_before, interactions_before : int
        Users and items with an interaction, and interactions, after doubled rows and before the k-core.
    users, items, interactions : int
        The same after the k-core: what the data set holds.
    min_interactions : int
        The k of the k-core.
    notes : tuple of str
        Anything else that a reader of the figures should know.
    """

    rows_read: int
    doubled_rows: int
    items_listed: int
    users_before: int
    items_before: int
    interactions_before: int
    users: int
    items: int
    interactions: int
    min_interactions: int
    notes: tuple[str, ...] = ()

    @property
    def users_dropped(self) -> int:
        """Users that the k-core dropped."""
        return self.users_before - self.users

    @property
    def items_dropped(self) -> int:
        """Listed items that are not in the data set: without interactions, or dropped by the k-core."""
        return self.items_listed - self.items

    @property
    def interactions_dropped(self) -> int:
        """Interactions that the k-core dropped."""
        return self.interactions_before - self.interactions

    def as_dict(self) -> dict[str, int | list[str]]:
        """Return the report as plain values for JSON, in the order of the fields."""
        return {**asdict(self), "notes": list(self.notes)}

    def __str__(self) -> str:
        lines = [
            f"rows read: {self.rows_read}, doubled: {self.doubled_rows}",
            f"users: {self.users} of {self.users_before}",
            f"items: {self.items} of {self.items_before} with interactions, {self.items_listed} listed",
            f"interactions: {self.interactions} of {self.interactions_before} "
            f"(at least {self.min_interactions} for each user and item)",
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Items and the users' sequences over them.

    Parameters
    ----------
    name : str
        Name of the data set.
    items : ItemTable
        N items; the row is the item's number everywhere.
    user_ids : tuple of str
        External ids of the U users, in the order of their first interaction in the source.
    sequences : tuple of ndarray of int64
        For each user the rows of the items taken, shape (T_u,), values 0..N-1, oldest first, read-only.
    report : DataReport
        What was read and dropped.
    source_sha256 : str
        Checksum of the source: of the archive, or of the list of the files' checksums when read from a
        folder.
    licence : str
        What may be done with the data.
    redistributable : bool
        Whether the titles and tags may be passed on, as a bundle does.

    Raises
    ------
    DataError
        If ``user_ids`` and ``sequences`` differ in length, or a sequence is not one-dimensional int64 within
        0..N-1.
    """

    name: str
    items: ItemTable
    user_ids: tuple[str, ...]
    sequences: tuple[IntArray, ...]
    report: DataReport
    source_sha256: str
    licence: str
    redistributable: bool

    def __post_init__(self) -> None:
        if len(self.user_ids) != len(self.sequences):
            raise DataError(
                "user_ids and sequences differ in length",
                expected=f"{len(self.user_ids)} sequences",
                got=str(len(self.sequences)),
            )
        for user, sequence in zip(self.user_ids, self.sequences, strict=True):
            _check_sequence(user, sequence, len(self.items))
            sequence.flags.writeable = False

    @property
    def n_items(self) -> int:
        """Number of items N."""
        return len(self.items)

    @property
    def n_users(self) -> int:
        """Number of users U."""
        return len(self.user_ids)

    @property
    def n_interactions(self) -> int:
        """Number of interactions: the sum of the sequences' lengths."""
        return sum(len(sequence) for sequence in self.sequences)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Every tag that some item has, sorted, length G."""
        return self.items.tag_names

    @property
    def tag_matrix(self) -> BoolArray:
        """Which item has which tag: bool (N, G), read-only; column g belongs to ``tag_names[g]``."""
        return self.items.tag_matrix

    def items_table(self) -> pa.Table:
        """Return the item table in the columns of ``items.parquet``; see :meth:`ItemTable.to_arrow`."""
        return self.items.to_arrow()


def _check_sequence(user: str, sequence: IntArray, n_items: int) -> None:
    """Refuse a sequence that is not one-dimensional int64 within 0..n_items-1."""
    if sequence.ndim != 1 or sequence.dtype != np.int64:
        raise DataError(
            f"the sequence of user {user!r} has the wrong form",
            expected="int64 of shape (T,)",
            got=f"{sequence.dtype} of shape {sequence.shape}",
        )
    if sequence.size and (sequence.min() < 0 or sequence.max() >= n_items):
        raise DataError(
            f"the sequence of user {user!r} names a row outside the item table",
            expected=f"rows 0..{n_items - 1}",
            got=f"{sequence.min()}..{sequence.max()}",
        )
