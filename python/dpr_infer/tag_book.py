# The tag names of a catalogue and the bitsets of its items: what bit a name has, and which bits an item gets.

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import QueryError, QueryTypeError

MAX_TAGS = 4_096
MAX_NAME_LENGTH = 255
_WORD_BITS = 64

# What callers give: the tag names of every item.
Tags = Sequence[Collection[str]] | Iterable[Collection[str]]


class TagBook:
    """Names of tags in the order of their bits.

    Parameters
    ----------
    names : iterable of str
        At most 4096 names, all different, of 1 to 255 characters.

    Attributes
    ----------
    names : tuple of str
        The names; the position is the tag's number.
    words : int
        Words W of an item's bitset, at least 1.

    Raises
    ------
    QueryError
        If there are too many names, one is empty, too long or there twice.

    Examples
    --------
    >>> book = TagBook(["war", "comedy"])
    >>> book.pack([["comedy"], [], ("war", "comedy")], 3).tolist()
    [[2], [0], [3]]
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        self._bits = {name: 1 << number for number, name in enumerate(self.names)}
        for name in self.names:
            _check_name(name)
        if len(self._bits) != len(self.names):
            raise QueryError("tags must have different names; got one twice")
        if len(self.names) > MAX_TAGS:
            raise QueryError(f"tags must have at most {MAX_TAGS} different names; got {len(self.names)}")
        self.words = max(1, -(-len(self.names) // _WORD_BITS))

    @classmethod
    def collect(cls, tags: Sequence[Collection[str]]) -> TagBook:
        """Number the names of items' tags in order of first appearance.

        Parameters
        ----------
        tags : sequence of collection of str, length N
            The tags of every item; an unordered collection counts in the order of its names.

        Returns
        -------
        TagBook
            A book of all names.

        Raises
        ------
        QueryError
            If an entry is not a collection of str, or there are too many names.
        """
        numbers: dict[str, int] = {}
        for item, entry in enumerate(tags):
            names = _names_of(entry, item)
            # A set has another order in every process; a catalogue must not.
            for name in sorted(names) if isinstance(names, set | frozenset) else names:
                numbers.setdefault(name, len(numbers))
            if len(numbers) > MAX_TAGS:
                raise QueryError(
                    f"tags must have at most {MAX_TAGS} different names; item {item} has one more"
                )
        return cls(numbers)

    def pack(self, tags: Sequence[Collection[str]], n_items: int) -> NDArray[np.uint64]:
        """Return items' tags as bitsets.

        Parameters
        ----------
        tags : sequence of collection of str, length `n_items`
            The tags of every item; repetitions do not matter.
        n_items : int
            Number of items.

        Returns
        -------
        ndarray of uint64, shape (n_items, W)
            Bit g % 64 of word g // 64 is set when the item has tag g.

        Raises
        ------
        QueryError
            If there is not one entry an item, an entry is not a collection of str, or a name is unknown.
        """
        if len(tags) != n_items:
            raise QueryError(f"tags must have one collection of names an item, {n_items}; got {len(tags)}")
        width = self.words * _WORD_BITS // 8
        raw = b"".join(
            self._bitset(_names_of(entry, item), item).to_bytes(width, "little")
            for item, entry in enumerate(tags)
        )
        words = np.frombuffer(raw, dtype="<u8").reshape(n_items, self.words)
        return words.astype(np.uint64, copy=False)

    def _bitset(self, names: Collection[str], item: int) -> int:
        bits = 0
        try:
            for name in names:
                bits |= self._bits[name]
        except KeyError as unknown:
            name = unknown.args[0]
            close = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5) or self.names[:5]
            offer = ", ".join(repr(known) for known in close) or "no tag at all"
            raise QueryError(
                f"tags must be names that the catalogue was built with; {name[:50]!r} of item {item} is none "
                f"(there is {offer})"
            ) from None
        return bits


def pack_tags(book: TagBook | None, tags: Tags | None, n_items: int) -> NDArray[np.uint64] | None:
    """Return the bitsets of a catalogue's items.

    Parameters
    ----------
    book : TagBook or None
        The catalogue's tags.
    tags : sequence of collection of str, length `n_items`, or None
        Those of the items. Needed exactly when there is a book.
    n_items : int
        Number of items.

    Returns
    -------
    ndarray of uint64, shape (n_items, W), or None
        None without a book.

    Raises
    ------
    QueryError
        If tags are missing, must not be there, or are not as `TagBook.pack` takes them.
    """
    if book is None:
        if tags is not None:
            raise QueryError("tags must not be given: the catalogue was built without; got some")
        return None
    if tags is None:
        raise QueryError("tags must be given, for the catalogue has some; an item may have none: ()")
    return book.pack(tag_collections(tags), n_items)


def tag_collections(tags: Tags) -> Sequence[Collection[str]]:
    """Return an argument as a sequence with one entry an item; the entries themselves are not looked at.

    Parameters
    ----------
    tags : sequence or other iterable
        What the caller gave.

    Returns
    -------
    sequence
        Something with a length and an order.

    Raises
    ------
    QueryTypeError
        If it is a str, or nothing that can be gone through.
    """
    if isinstance(tags, Sequence) and not isinstance(tags, str | bytes):
        return tags
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise QueryTypeError(
            f"tags must be a sequence of collections of str, one an item; got {type(tags).__name__}"
        )
    return list(tags)


def has_unused_bits(tag_bits: NDArray[np.uint64], n_tags: int) -> bool:
    """Tell whether a bitset has a bit past the last tag.

    Parameters
    ----------
    tag_bits : ndarray of uint64, shape (N, W)
        Bitsets.
    n_tags : int
        How many tags there are, at most 64 * W.

    Returns
    -------
    bool
        True where something is set that is no tag.
    """
    used = n_tags - _WORD_BITS * (tag_bits.shape[1] - 1)
    return used < _WORD_BITS and bool((tag_bits[:, -1] >> np.uint64(used)).any())


def _names_of(entry: object, item: int) -> Collection[str]:
    """Return one item's tags, refusing a bare str, which would fall into letters."""
    if isinstance(entry, str | bytes) or not isinstance(entry, Collection):
        raise QueryTypeError(
            f"tags of item {item} must be a collection of str; got {type(entry).__name__} {str(entry)[:50]!r}"
        )
    for name in entry:
        if not isinstance(name, str):
            raise QueryTypeError(
                f"tags of item {item} must be a collection of str; it holds {type(name).__name__} {str(name)[:50]!r}"
            )
    return entry


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise QueryError(
            f"the name of a tag must have 1 to {MAX_NAME_LENGTH} characters; {name[:50]!r} has {len(name)}"
        )
