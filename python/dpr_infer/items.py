# The items of a catalogue: external ids, titles and tags by row, and the search for a title.

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

_SHINGLE = 3
_LEAST_OVERLAP = 0.5


class ItemTable:
    """Ids, titles and tags of a catalogue's items; the row is the item's number.

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
        By row.
    tags : list of tuple of str
        By row.
    row_of : mapping of str to int
        The row of every id.

    Examples
    --------
    >>> table = ItemTable(["7", "9"], ["Heat (1995)", "The Matrix (1999)"], [("Crime",), ("Sci-Fi",)])
    >>> table.row_of["9"], table.titles[1]
    (1, 'The Matrix (1999)')
    >>> [table.titles[row] for row in table.search("matrx")]
    ['The Matrix (1999)']
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str], tags: Sequence[tuple[str, ...]]) -> None:
        self.ids = list(ids)
        self.titles = list(titles)
        self.tags = list(tags)
        self.row_of: Mapping[str, int] = {item_id: row for row, item_id in enumerate(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.row_of

    @cached_property
    def _folded(self) -> list[str]:
        return [_fold(title) for title in self.titles]

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
        if not wanted:
            return []
        found = self._by_words(wanted) or self._by_shingles(wanted)
        return found[:limit]

    def _by_words(self, wanted: str) -> list[int]:
        starts = [" " + word for word in wanted.split()]
        hits = [row for row, title in enumerate(self._folded) if _has_all(" " + title, starts)]
        return sorted(
            hits, key=lambda row: (not self._folded[row].startswith(wanted), len(self._folded[row]), row)
        )

    def _by_shingles(self, wanted: str) -> list[int]:
        pieces = _shingles(wanted)
        shares = (
            (len(pieces & _shingles(title)) / len(pieces), row) for row, title in enumerate(self._folded)
        )
        hits = [(-share, len(self._folded[row]), row) for share, row in shares if share >= _LEAST_OVERLAP]
        return [row for _, _, row in sorted(hits)]


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return " ".join(re.findall(r"\w+", bare.replace("'", "")))


def _has_all(title: str, starts: Iterable[str]) -> bool:
    return all(start in title for start in starts)


def _shingles(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + _SHINGLE] for i in range(len(padded) - _SHINGLE + 1)}
