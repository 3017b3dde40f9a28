# The item table: what is known of each item apart from who took it. The row is the item's number everywhere.

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dpr_train.data.errors import DataError, shown
from dpr_train.data.sentences import sentences

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class ItemTable:
    """Columns of the item table, each of length N; row n of each belongs to item n.

    Parameters
    ----------
    ids : tuple of str
        External ids, unique and not empty.
    titles : tuple of str
        Titles, not empty.
    tags : tuple of tuple of str
        Tags of each item, none twice, in the order of the source.
    texts : tuple of str or None
        A longer text for each item (``""`` where there is none), or None when the data set has no texts.

    Raises
    ------
    DataError
        If the columns differ in length or an id occurs twice.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.titles), len(self.tags)}
        lengths |= set() if self.texts is None else {len(self.texts)}
        if len(lengths) != 1:
            raise DataError(
                "the item table's columns differ in length", expected="one length", got=shown(sorted(lengths))
            )
        if len(set(self.ids)) != len(self.ids):
            raise DataError(
                "an item id occurs twice in the item table",
                expected=f"{len(self.ids)} different ids",
                got=str(len(set(self.ids))),
            )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def tag_names(self) -> tuple[str, ...]:
        """Every tag that some item has, sorted by code point, length G."""
        return tuple(sorted({tag for tags in self.tags for tag in tags}))

    @cached_property
    def tag_matrix(self) -> BoolArray:
        """Which item has which tag: bool (N, G), read-only; column g belongs to ``tag_names[g]``."""
        column = {name: g for g, name in enumerate(self.tag_names)}
        matrix = np.zeros((len(self), len(column)), dtype=np.bool_)  # (N, G)
        for row, tags in enumerate(self.tags):
            matrix[row, [column[tag] for tag in tags]] = True
        matrix.flags.writeable = False
        return matrix

    @cached_property
    def descriptions(self) -> tuple[str, ...]:
        """What a text encoder may read of each item, length N: ``Title. Tag, tag. Text``.

        A MovieLens title ends with its year: ``Toy Story (1995). Animation, Comedy. A film about toys.`` A
        title that is the text's first sentence is not said twice; what an item does not have is left out. The runtime
        describes items that are added to a bundle by the same recipe (``dpr_infer.item_text``).
        """
        texts = self.texts or ("",) * len(self)
        return tuple(
            sentences(title, ", ".join(tags), text.removeprefix(sentences(title)).lstrip())
            for title, tags, text in zip(self.titles, self.tags, texts, strict=True)
        )

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> "ItemTable":
        """Return the table of some rows, in the order given.

        Parameters
        ----------
        rows : sequence of int or ndarray of int64, shape (M,)
            Rows of this table, 0..N-1, none twice.

        Returns
        -------
        ItemTable
            M rows; row m is row ``rows[m]`` of this table.
        """
        picked = [int(row) for row in rows]
        return ItemTable(
            ids=tuple(self.ids[row] for row in picked),
            titles=tuple(self.titles[row] for row in picked),
            tags=tuple(self.tags[row] for row in picked),
            texts=None if self.texts is None else tuple(self.texts[row] for row in picked),
        )

    def to_arrow(self) -> pa.Table:
        """Return the table in the columns of ``items.parquet``.

        Returns
        -------
        pyarrow.Table
            N rows: ``item_id`` string, ``title`` string, ``tags`` list of string, and ``text`` string when
            the data set has texts.
        """
        columns = {
            "item_id": pa.array(self.ids, pa.string()),
            "title": pa.array(self.titles, pa.string()),
            "tags": pa.array([list(tags) for tags in self.tags], pa.list_(pa.string())),
        }
        if self.texts is not None:
            columns["text"] = pa.array(self.texts, pa.string())
        return pa.table(columns)
