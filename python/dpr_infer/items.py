# The items of a catalogue: external ids, titles and tags by row, and the search for a title.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import RowTable, items_at
from dpr_infer.title_index import TitleIndex, scan_pieces, scan_words

# Titles beyond the last index are looked at one by one until there are so many; an index has so many at most: its
# making takes some 1.3 KB a title for a moment; 0.1 KB are kept.
_UNINDEXED, _OF_AN_INDEX = 4_096, 65_536


class ItemTable:
    """Ids, titles and tags of a catalogue's items; the row is the item's number.

    Items come and go: a new one takes the next row, and the row of a removed one is never given again. Whoever
    calls `append`, `publish` and `remove` must let no other thread do so at the same time; everything else is
    safe meanwhile.

    Parameters
    ----------
    ids : sequence of str, length N
        External ids, all different.
    titles : sequence of str, length N
        Titles.
    tags : sequence of tuple of str, length N
        Tags.

    Attributes
    ----------
    ids, titles : list of str
        By row, those of removed items included.
    tags : list of tuple of str
        By row, likewise.
    row_of : mapping of str to int
        The row of every id, without removed ones.
    removed_ids : set of str
        Ids of removed items that no other item has taken since.
    version : int
        Rises after every change of `row_of`: what was looked up after it was read holds until it has risen.

    Examples
    --------
    >>> table = ItemTable(["7", "9"], ["Heat (1995)", "The Matrix (1999)"], [("Crime",), ("Sci-Fi",)])
    >>> table.row_of["9"], table.titles[1]
    (1, 'The Matrix (1999)')
    >>> [table.titles[row] for row in table.search("matrx")]
    ['The Matrix (1999)']
    >>> table.remove(["9"])
    >>> "9" in table, len(table), table.search("matrix")
    (False, 1, [])
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str], tags: Sequence[tuple[str, ...]]) -> None:
        self.ids = list(ids)
        self.titles = list(titles)
        self.tags = list(tags)
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        self.row_of: Mapping[str, int] = self._row_of
        self._rows = RowTable(self.ids)
        self.removed_ids: set[str] = set()
        self.version = 0
        self._folded: list[str] = []
        self._indexes: tuple[TitleIndex, ...] = ()
        self._fold_lock = Lock()

    def __len__(self) -> int:
        """Return the number of items that are not removed."""
        return len(self._row_of)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._row_of

    def at(self, rows: NDArray[np.int64]) -> tuple[list[str], list[str], list[list[str]]]:
        """Return ids, titles and tags of the items at some rows, as lists of the caller's own.

        Parameters
        ----------
        rows : ndarray of int64, shape (k,)
            Rows of the table; the first that is negative ends the lists.
        """
        return items_at(self.ids, self.titles, self.tags, rows)

    def append(self, ids: Sequence[str], titles: Sequence[str], tags: Sequence[tuple[str, ...]]) -> int:
        """Give new items the next rows. Their ids stay unknown until they are published.

        Parameters
        ----------
        ids, titles, tags
            As for the table, n of each.

        Returns
        -------
        int
            The first of the n rows.
        """
        first = len(self.ids)
        self.titles.extend(titles)
        self.tags.extend(tags)
        self.ids.extend(ids)
        return first

    def publish(self, first: int) -> None:
        """Make the ids of the rows from `first` on known."""
        self._rows.add(first)
        for row, item_id in enumerate(self.ids[first:], first):
            self._row_of[item_id] = row
            self.removed_ids.discard(item_id)
        self.version += 1

    def withdraw(self, first: int) -> None:
        """Take back an `append` that was not published."""
        del self.ids[first:], self.tags[first:]
        with self._fold_lock:
            del self.titles[first:], self._folded[first:]
            self._indexes = tuple(index for index in self._indexes if index.end <= first)

    def remove(self, ids: Iterable[str]) -> None:
        """Forget ids, each of a known item; rows, titles and tags stay for answers under way."""
        for item_id in ids:
            self.removed_ids.add(item_id)
            del self._row_of[item_id]
            self._rows.remove(item_id)
        self.version += 1

    def rows_of(self, ids: list[str] | tuple[str, ...]) -> NDArray[np.int64] | None:
        """Look up many ids at once.

        Parameters
        ----------
        ids : list or tuple of str
            The ids.

        Returns
        -------
        ndarray of int64, shape (n,), or None
            Their rows, in order; None if `row_of` does not have all of them, or it takes a closer look to tell.
        """
        return self._rows.find(ids)

    def search(self, text: str, limit: int = 10) -> list[int]:
        """Find items by title.

        Titles that have, for every word of the text, a word beginning with it come first, shorter titles
        before longer ones. Where there are none, titles that share at least half of the text's three-letter
        pieces are taken, the most alike first. Case, accents and punctuation do not matter.

        Parameters
        ----------
        text : str
            Words of a title.
        limit : int
            Most rows to return.

        Returns
        -------
        list of int
            Rows, best first; equally good ones by rising row. Empty for a text without letters or digits.
        """
        wanted = _fold(text)
        if not wanted or limit < 1:
            return []
        indexes, others = self._titles_to_search()
        hits = scan_words(others, wanted)
        for index in indexes:
            hits += index.by_words(wanted, limit, self._is_known)
        if not hits:
            hits = scan_pieces(others, wanted)
            for index in indexes:
                hits += index.by_pieces(wanted, limit, self._is_known)
        return [row for *_, row in sorted(hits)[:limit]]

    def _titles_to_search(self) -> tuple[tuple[TitleIndex, ...], list[tuple[int, str]]]:
        """Return indexes of titles, and row and folded title of the other items that are known."""
        with self._fold_lock:
            self._folded.extend(map(_fold, self.titles[len(self._folded) :]))
            begin = self._indexes[-1].end if self._indexes else 0
            while len(self._folded) - begin > _UNINDEXED:
                index = TitleIndex(self._folded[begin : begin + _OF_AN_INDEX], begin)
                self._indexes += (index,)
                begin = index.end
            others = list(enumerate(self._folded[begin:], begin))
            indexes = self._indexes
        return indexes, [(row, title) for row, title in others if self._is_known(row)]

    def _is_known(self, row: int) -> bool:
        try:
            return self._row_of.get(self.ids[row]) == row
        except IndexError:  # its id is still to come, or was just withdrawn
            return False


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", bare.replace("'", "")))
