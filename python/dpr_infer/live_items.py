# Items that come and go while a recommender answers: the table that people read and the kernel's catalogue change
# together.

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer._core import Catalogue
from dpr_infer.bundle import Bundle
from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.request import one_list, rows_of
from dpr_infer.vector_arguments import float_array

T = TypeVar("T")


class LiveItems:
    """Changes to the items of an opened bundle. They last as long as the recommender and never touch the bundle.

    Each change is visible to the next query; a query under way answers from the state that it began with. All
    methods may be called from several threads, and while queries run.
    """

    def __init__(self, bundle: Bundle, catalogue: Catalogue, threads: int) -> None:
        self._live_items = bundle.items
        self._live_catalogue = catalogue
        self._live_tags = {tag: g for g, tag in enumerate(bundle.manifest.tags)}
        self._live_tag_vectors = bundle.catalogue.tag_vectors
        self._live_dims = bundle.manifest.dims
        self._live_threads = threads
        self._change, self._compaction = Lock(), Lock()

    def add_items(
        self,
        item_ids: Iterable[str],
        *,
        vectors: ArrayLike | None = None,
        titles: Iterable[str] | None = None,
        tags: Iterable[Iterable[str]] | None = None,
    ) -> NDArray[np.int64]:
        """Add items, all of them or none.

        The backbone has no token for an added item. In a history it is left out of the answer like any other,
        but the backbone does not read it; `Recommendation.history_unread` counts such entries.

        Parameters
        ----------
        item_ids : iterable of str, length n
            Ids that the catalogue does not have. That of a removed item may be taken again; the item is a new
            one all the same.
        vectors : array-like of float, shape (n, item), optional
            Item vectors [c ‖ w], finite; other types than float32 are rounded to it. Without them c is 0, the
            same for every user, and w is the sum of the side vectors of the item's tags, as it is for the items
            of the bundle: prompts find such an item.
        titles : iterable of str, length n, optional
            Titles; the ids by default.
        tags : iterable of iterable of str, length n, optional
            Tags out of the bundle's. None by default; then `vectors` must be given.

        Returns
        -------
        ndarray of int64, shape (n,)
            The items' rows.

        Raises
        ------
        QueryError
            If an id is known already, empty or given twice, a tag is not of the bundle, lengths differ, or
            vectors are not of this shape and finite. Nothing is added then.
        """
        ids = _strings(item_ids, "item_ids")
        names = _per_item(ids if titles is None else _strings(titles, "titles"), "titles", ids)
        tag_names = self._tag_names(ids, tags)
        if vectors is None and tags is None:
            raise QueryError("add_items must be given vectors or tags: an item needs a place; got neither")
        matrix = self._tag_matrix(tag_names)
        if vectors is None:
            placed = self._vectors_of_tags(matrix)
        else:
            placed = float_array(vectors, "vectors", (len(ids), self._live_dims.item))
        with self._change:
            self._refuse_taken(ids)
            if not ids:
                return np.empty(0, dtype=np.int64)
            # The table first: as soon as the kernel knows a row, an answer may ask what it is.
            first = self._live_items.append(ids, names, tag_names)
            try:
                self._live_catalogue.add(placed, self._packed(matrix))
            except Exception as error:
                self._live_items.withdraw(first)
                if isinstance(error, ValueError):
                    raise QueryError(f"the items cannot be added: {error}") from error
                raise
            self._live_items.publish(first)
        return np.arange(first, first + len(ids), dtype=np.int64)

    def remove_items(self, item_ids: Iterable[str]) -> None:
        """Remove items for ever. Their ids become unknown ids, and their rows are not given again.

        Parameters
        ----------
        item_ids : iterable of str
            Ids of items; the order and repetitions do not matter.

        Raises
        ------
        UnknownItemError
            If an id is unknown, or was removed before. Nothing is removed then.
        """
        ids = list(dict.fromkeys(_strings(item_ids, "item_ids")))
        with self._change:
            rows = rows_of(ids, "item_ids", self._live_items, skip_unknown=False)
            if rows:
                self._live_catalogue.remove(np.array(rows, dtype=np.int64))
                self._live_items.remove(ids)

    def set_available(self, item_ids: Iterable[str], available: bool) -> None:
        """Say whether items may be recommended. Those that may not are still known, and read in histories.

        Parameters
        ----------
        item_ids : iterable of str
            Ids of items; the order and repetitions do not matter.
        available : bool
            Whether answers may hold them.

        Raises
        ------
        UnknownItemError
            If an id is unknown. Nothing is changed then.
        """
        if not isinstance(available, bool):
            raise QueryTypeError(f"available must be True or False; got {available!r}")
        ids = list(dict.fromkeys(_strings(item_ids, "item_ids")))
        with self._change:
            rows = rows_of(ids, "item_ids", self._live_items, skip_unknown=False)
            if rows:
                self._live_catalogue.set_available(np.array(rows, dtype=np.int64), available)

    def compact(self) -> None:
        """Build the index anew from the items there are; queries and changes go on meanwhile.

        Answers stay the same. Added items are scanned without an index, and removed ones take room, until then.
        """
        with self._compaction:  # a second one waits, and finds little to do
            self._live_catalogue.compact(threads=self._live_threads)

    def _refuse_taken(self, ids: list[str]) -> None:
        taken = [item_id for item_id in ids if item_id in self._live_items]
        if taken:
            raise QueryError(f"item_ids must be new; the catalogue has {taken[0]!r}")
        if "" in ids:
            raise QueryError(f"item_ids must not be empty; item_ids[{ids.index('')}] is")
        if len(set(ids)) != len(ids):
            twice = next(item_id for item_id, count in Counter(ids).items() if count > 1)
            raise QueryError(f"item_ids must be unique; {twice!r} appears more than once")

    def _tag_names(self, ids: list[str], tags: Iterable[Iterable[str]] | None) -> list[tuple[str, ...]]:
        if tags is None:
            return [()] * len(ids)
        if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
            raise QueryTypeError(f"tags must be a collection of tags for each item; got {tags!r}")
        names = [tuple(_strings(entry, f"tags[{i}]")) for i, entry in enumerate(tags)]
        unknown = [name for entry in names for name in entry if name not in self._live_tags]
        if unknown:
            raise QueryError(
                f"tags must be of the bundle's {len(self._live_tags)} tags; {unknown[0]!r} is none"
            )
        return _per_item(names, "tags", ids)

    def _tag_matrix(self, tag_names: list[tuple[str, ...]]) -> NDArray[np.bool_]:
        matrix = np.zeros((len(tag_names), 64 * self._live_dims.tag_words), dtype=np.bool_)
        for line, names in zip(matrix, tag_names, strict=True):
            line[[self._live_tags[name] for name in names]] = True
        return matrix

    def _vectors_of_tags(self, matrix: NDArray[np.bool_]) -> NDArray[np.float32]:
        vectors = np.zeros((len(matrix), self._live_dims.item), dtype=np.float32)
        vectors[:, self._live_dims.user :] = matrix[:, : len(self._live_tags)] @ self._live_tag_vectors
        return vectors

    def _packed(self, matrix: NDArray[np.bool_]) -> NDArray[np.uint64]:
        return np.packbits(matrix, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def _strings(values: Iterable[str], what: str) -> list[str]:
    listed = one_list(values, what)
    for i, value in enumerate(listed):
        if not isinstance(value, str):
            raise QueryTypeError(f"{what}[{i}] must be a str; got {value!r}")
    return listed


def _per_item(values: list[T], what: str, ids: list[str]) -> list[T]:
    if len(values) != len(ids):
        raise QueryError(f"{what} must have one entry an item, {len(ids)}; got {len(values)}")
    return values
