# Items that come and go while a recommender answers: what callers may say. What is done lies in item_changes.py.

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer.errors import QueryTypeError
from dpr_infer.item_places import list_items, strings
from dpr_infer.reload import Reloadable


class LiveItems(Reloadable):
    """Changes to the items of an opened bundle. They never touch the bundle, and last as long as the recommender.

    `reload` says what becomes of them when another bundle is put in place. Each change is visible to the next query; a
    query under way answers from the state that it began with. All methods may be called from several threads, and
    while queries run.
    """

    def add_items(
        self,
        item_ids: Iterable[str],
        *,
        vectors: ArrayLike | None = None,
        titles: Iterable[str] | None = None,
        tags: Iterable[Iterable[str]] | None = None,
        texts: Iterable[str] | None = None,
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
            same for every user, and w is made as for the items of the bundle: the sum of the side vectors of the
            item's tags and, if the bundle has a text encoder, the place of its description, which is title, tags and
            text. Prompts find such an item.
        titles : iterable of str, length n, optional
            Titles; the ids by default.
        tags : iterable of iterable of str, length n, optional
            Tags out of the bundle's. None by default; then `vectors` or `texts` must be given.
        texts : iterable of str, length n, optional
            What there is to say of each item, or "". For bundles with a text encoder, and not beside `vectors`. The
            beginning is read, as far as `manifest.text_token_limit` goes, which takes tens of milliseconds.

        Returns
        -------
        ndarray of int64, shape (n,)
            The items' rows.

        Raises
        ------
        QueryError
            If an id is known already, empty or given twice, a tag is not of the bundle, lengths differ, or
            vectors are not of this shape and finite; if texts are given and the bundle has no text encoder. Nothing
            is added then.
        BundleError
            If the bundle's folder no longer holds its text encoder. Nothing is added then.
        """
        items = list_items(item_ids, vectors, titles, tags, texts)
        with self._changing:
            return self._opened.changes.add(items)

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
        ids = _each_once(item_ids)
        with self._changing:
            self._opened.changes.remove(ids)

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
        ids = _each_once(item_ids)
        with self._changing:
            self._opened.changes.set_available(ids, available)

    def compact(self) -> None:
        """Build the index anew from the items there are; queries and changes go on meanwhile.

        Answers stay the same. Added items are scanned without an index, and removed ones take room, until then.
        """
        self._opened.changes.compact()


def _each_once(item_ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(strings(item_ids, "item_ids")))
