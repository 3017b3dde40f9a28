# Finds folded titles by beginnings of words and by three-letter pieces, without looking at each: which titles have a
# piece is written down once.

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_OVERLAP = 0.5
_PIECE = 3
_BITS = 21  # of a character
_END = ord("\n")  # between titles; folded ones have none

# What a title is ranked by, lower first, and its row at the end.
Hit = tuple[float, int, int]


class TitleIndex:
    """An index of titles that never change.

    Parameters
    ----------
    titles : sequence of str, length N
        Folded titles: words of letters and digits, with one space between them.
    first : int
        Row of the first one; the others have the next rows.
    """

    def __init__(self, titles: Sequence[str], first: int) -> None:
        self._titles = list(titles)
        self._first = first
        self._lengths = np.fromiter(map(len, titles), dtype=np.int32, count=len(titles))
        joined = "".join(f" {title} \n" for title in titles)
        letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
        numbers = np.repeat(np.arange(len(titles), dtype=np.int32), self._lengths + len("  \n"))[
            : -_PIECE + 1
        ]
        pieces = _codes(letters)
        whole = _windows(letters != _END).all(axis=1)
        pieces, numbers = pieces[whole], numbers[whole]
        order = np.argsort(pieces, kind="stable")  # numbers of a piece keep rising
        pieces, numbers = pieces[order], numbers[order]
        new = np.ones(len(pieces), dtype=bool)
        new[1:] = (pieces[1:] != pieces[:-1]) | (numbers[1:] != numbers[:-1])
        self._numbers = numbers[new]
        # Every piece, rising, and where its numbers begin.
        self._pieces, begins = np.unique(pieces[new], return_index=True)
        self._begins = [*begins.tolist(), len(self._numbers)]

    @property
    def end(self) -> int:
        """The row behind the last one."""
        return self._first + len(self._titles)

    def by_words(self, wanted: str, limit: int, is_known: Callable[[int], bool]) -> list[Hit]:
        """Return the best titles that have, for every wanted word, a word beginning with it.

        Parameters
        ----------
        wanted : str
            Folded words, at least one.
        limit : int
            Most hits.
        is_known : callable
            Tells whether the item of a row may be found.

        Returns
        -------
        list of (float, int, int)
            Whether the title does not begin with all that is wanted, its length, its row; the least of them, in
            any order.
        """
        starts = [f" {word}" for word in wanted.split()]
        found = [numbers for start in starts for numbers in self._having(start)]
        counts = np.bincount(np.concatenate(found), minlength=len(self._titles))
        candidates = np.flatnonzero(counts == len(found))
        first: list[Hit] = []
        others: list[Hit] = []
        for number in candidates[np.argsort(self._lengths[candidates], kind="stable")].tolist():
            title, row = self._titles[number], self._first + number
            if not has_all(title, starts) or not is_known(row):
                continue
            if title.startswith(wanted):
                first.append((False, len(title), row))
                if len(first) == limit:
                    break
            elif len(others) < limit:
                others.append((True, len(title), row))
        return first + others

    def by_pieces(self, wanted: str, limit: int, is_known: Callable[[int], bool]) -> list[Hit]:
        """Return the titles that share most pieces with what is wanted, at least half of its own.

        Parameters
        ----------
        wanted, limit, is_known
            As for `by_words`.

        Returns
        -------
        list of (float, int, int)
            The share, negative, the title's length, its row; the least of them, rising.
        """
        pieces = pieces_of(wanted)
        counts = np.bincount(
            np.concatenate([self._between(piece, piece) for piece in pieces]), minlength=len(self._titles)
        )
        shares = counts / len(pieces)
        candidates = np.flatnonzero(shares >= LEAST_OVERLAP)
        order = np.lexsort((self._lengths[candidates], -shares[candidates]))
        hits: list[Hit] = []
        for number in candidates[order].tolist():
            if len(hits) == limit:
                break
            if is_known(self._first + number):
                hits.append((-float(shares[number]), len(self._titles[number]), self._first + number))
        return hits

    def _having(self, start: str) -> list[NDArray[np.int32]]:
        """Return, for every piece of a beginning of a word, numbers of the titles that have it."""
        if len(start) < _PIECE:  # a space and one letter
            return [np.unique(self._between(start + "\0", start + chr(0x10FFFF)))]
        return [self._between(piece, piece) for piece in sorted(pieces_in(start))]

    def _between(self, least: str, most: str) -> NDArray[np.int32]:
        """Return numbers of the titles that have a piece in a range."""
        begin = self._begins[np.searchsorted(self._pieces, _code(least), side="left")]
        end = self._begins[np.searchsorted(self._pieces, _code(most), side="right")]
        return self._numbers[begin:end]


def scan_words(titles: Iterable[tuple[int, str]], wanted: str) -> list[Hit]:
    """Do what `TitleIndex.by_words` does for rows and titles that are in no index; all hits."""
    starts = [f" {word}" for word in wanted.split()]
    return [
        (not title.startswith(wanted), len(title), row) for row, title in titles if has_all(title, starts)
    ]


def scan_pieces(titles: Iterable[tuple[int, str]], wanted: str) -> list[Hit]:
    """Do what `TitleIndex.by_pieces` does for rows and titles that are in no index; all hits."""
    pieces = pieces_of(wanted)
    shares = ((len(pieces & pieces_of(title)) / len(pieces), len(title), row) for row, title in titles)
    return [(-share, length, row) for share, length, row in shares if share >= LEAST_OVERLAP]


def has_all(title: str, starts: Iterable[str]) -> bool:
    """Tell whether a title has all of these beginnings of words, each with a space before it."""
    padded = " " + title
    return all(start in padded for start in starts)


def pieces_of(title: str) -> set[str]:
    """Return the three-letter pieces of a title, with a space before and behind it."""
    return pieces_in(f" {title} ")


def pieces_in(text: str) -> set[str]:
    """Return the three-letter pieces of a text."""
    return {text[i : i + _PIECE] for i in range(len(text) - _PIECE + 1)}


def _windows(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.lib.stride_tricks.sliding_window_view(values, _PIECE)


def _codes(letters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pieces as numbers, in the order of their letters."""
    return (letters[:-2] << 2 * _BITS) | (letters[1:-1] << _BITS) | letters[2:]


def _code(piece: str) -> int:
    first, second, third = map(ord, piece)
    return (first << 2 * _BITS) | (second << _BITS) | third
