# Changes to the items of one opened bundle: the table that people read and the kernel's catalogue change together, and
# what was changed is remembered, so that it can be done again to the bundle that comes next.

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from dpr_infer._core import Catalogue
from dpr_infer.bundle import Bundle
from dpr_infer.errors import QueryError
from dpr_infer.graph_contract import query_graphs
from dpr_infer.item_places import ItemPlaces, ListedItems, Tags
from dpr_infer.items import ItemTable
from dpr_infer.request import rows_of
from dpr_infer.types import CarriedChanges


@dataclass(frozen=True, slots=True)
class _Added:
    """What adding an item again takes; the vector is None where tags and description say where it lies."""

    title: str
    tags: Tags
    description: str
    vector: NDArray[np.float32] | None


class ItemChanges:
    """The items of one opened bundle as they are now. Whoever calls a method that changes them must hold off others.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    catalogue : dpr_infer._core.Catalogue
        The kernel's catalogue of its items.
    threads : int
        Threads that compaction may use, >= 1.
    """

    def __init__(self, bundle: Bundle, catalogue: Catalogue, threads: int) -> None:
        self._items: ItemTable = bundle.items
        self._catalogue = catalogue
        self._threads = threads
        self._places = ItemPlaces(bundle)
        self._space = _Space(bundle)
        self._added: dict[str, _Added] = {}
        self._unavailable: set[str] = set()
        self._compaction = Lock()

    def add(self, items: ListedItems) -> NDArray[np.int64]:
        """Add items, as `Recommender.add_items`."""
        taken = [item_id for item_id in items.ids if item_id in self._items]
        if taken:
            raise QueryError(f"item_ids must be new; the catalogue has {taken[0]!r}")
        new = self._places.place(items)
        if not new.ids:
            return np.empty(0, dtype=np.int64)
        # The table first: as soon as the kernel knows a row, an answer may ask what it is.
        first = self._items.append(new.ids, new.titles, new.tags)
        try:
            self._catalogue.add(new.vectors, new.tag_bits)
        except Exception as error:
            self._items.withdraw(first)
            if isinstance(error, ValueError):
                raise QueryError(f"the items cannot be added: {error}") from error
            raise
        self._items.publish(first)
        self._unavailable.difference_update(new.ids)
        for i, item_id in enumerate(new.ids):
            vector = None if new.by_tags else new.vectors[i].copy()
            self._added[item_id] = _Added(new.titles[i], new.tags[i], items.descriptions[i], vector)
        return np.arange(first, first + len(new.ids), dtype=np.int64)

    def try_out(self) -> None:
        """Read a text, if the bundle can, raising DprError if that fails."""
        self._places.try_out()

    def remove(self, ids: Collection[str]) -> None:
        """Remove items, as `Recommender.remove_items`; the ids are all different."""
        rows = rows_of(list(ids), "item_ids", self._items, skip_unknown=False)
        if len(rows):
            self._catalogue.remove(rows)
            self._items.remove(ids)
        for item_id in ids:
            self._added.pop(item_id, None)
            self._unavailable.discard(item_id)

    def set_available(self, ids: Collection[str], available: bool) -> None:
        """Switch items off or on, as `Recommender.set_available`; the ids are all different."""
        rows = rows_of(list(ids), "item_ids", self._items, skip_unknown=False)
        if len(rows):
            self._catalogue.set_available(rows, available)
        if available:
            self._unavailable.difference_update(ids)
        else:
            self._unavailable.update(ids)

    def compact(self) -> None:
        """Rebuild the index; changes may go on meanwhile."""
        with self._compaction:  # a second one waits, and finds little to do
            self._catalogue.compact(threads=self._threads)

    def take_over(self, before: ItemChanges) -> CarriedChanges:
        """Do again to a bundle that was just opened what had been done to the one before.

        Parameters
        ----------
        before : ItemChanges
            The changes of the bundle before; left as they are.

        Returns
        -------
        CarriedChanges
            What was done, and what could not be.
        """
        removed = sorted(item_id for item_id in before._items.removed_ids if item_id in self._items)
        self.remove(removed)
        # An id that no bundle has stays removed, should a later one have it again.
        self._items.removed_ids.update(before._items.removed_ids)
        added, lost = self._add_again(before)
        self._unavailable = before._unavailable - set(lost)
        unavailable = sorted(item_id for item_id in self._unavailable if item_id in self._items)
        self.set_available(unavailable, False)
        return CarriedChanges(tuple(removed), tuple(unavailable), tuple(added), tuple(lost))

    def _add_again(self, before: ItemChanges) -> tuple[list[str], list[str]]:
        """Add what had been added; return the ids, and those of items that have no place in this bundle."""
        missing = {item_id: old for item_id, old in before._added.items() if item_id not in self._items}
        same_space = self._space == before._space
        placed = {
            item_id: old
            for item_id, old in missing.items()
            if self._places.knows(old.tags)
            and (same_space if old.vector is not None else self._finds(old, before))
        }
        for by_tags in (True, False):
            kind = {item_id: old for item_id, old in placed.items() if (old.vector is None) == by_tags}
            if kind:
                olds = kind.values()
                vectors = (
                    None if by_tags else np.stack([old.vector for old in olds if old.vector is not None])
                )
                self.add(
                    ListedItems(
                        list(kind),
                        [old.title for old in olds],
                        [old.tags for old in olds],
                        vectors,
                        [old.description for old in olds],
                        texts_given=False,
                    )
                )
        return list(placed), [item_id for item_id in missing if item_id not in placed]

    def _finds(self, old: _Added, before: ItemChanges) -> bool:
        """Tell whether an item without tags, whose description gave it a place, has one here."""
        read_before = bool(old.description) and before._places.reads_texts
        return bool(old.tags) or self._places.reads_texts or not read_before


class _Space:
    """What decides where a vector lies: bundles of the same graphs and tag vectors have the same space.

    A text encoder says where descriptions lie, not what a vector means.
    """

    def __init__(self, bundle: Bundle) -> None:
        manifest = bundle.manifest
        self._graphs = {
            name: manifest.files[manifest.graphs[name].file].sha256 for name in query_graphs(manifest)
        }
        self._tag_vectors = bundle.catalogue.tag_vectors

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Space)
            and self._graphs == other._graphs
            and np.array_equal(self._tag_vectors, other._tag_vectors)
        )

    __hash__ = None  # type: ignore[assignment]
