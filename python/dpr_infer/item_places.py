# Where items that the model was not trained with lie in a bundle's space, and the check of what is to be added.

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer.bundle import Bundle
from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.item_text import describe
from dpr_infer.request import one_list
from dpr_infer.text_places import TextPlaces
from dpr_infer.vector_arguments import float_array

T = TypeVar("T")
Tags = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedItems:
    """Items to add as a caller gave them: each argument has one entry an item.

    Attributes
    ----------
    ids, titles : list of str, length n
        Ids, all different and none empty, and titles.
    tags : list of tuple of str, length n, or None
        Tags, if any were given.
    vectors : array-like or None
        Item vectors, if any were given; not checked yet.
    descriptions : list of str, length n
        What a text encoder reads: titles (not the ids in their place), tags and texts.
    texts_given : bool
        Whether the caller counts on texts being read.
    """

    ids: list[str]
    titles: list[str]
    tags: list[Tags] | None
    vectors: ArrayLike | None
    descriptions: list[str]
    texts_given: bool


@dataclass(frozen=True, slots=True)
class PlacedItems:
    """Items to add to a bundle.

    Attributes
    ----------
    ids, titles : list of str, length n
        Ids and titles.
    tags : list of tuple of str, length n
        Tags of the bundle.
    vectors : ndarray of float32, shape (n, item)
        Where the items lie.
    tag_bits : ndarray of uint64, shape (n, tag_words)
        The tags as bitsets.
    by_tags : bool
        Whether tags and descriptions say where, and no caller.
    """

    ids: list[str]
    titles: list[str]
    tags: list[Tags]
    vectors: NDArray[np.float32]
    tag_bits: NDArray[np.uint64]
    by_tags: bool


def list_items(
    item_ids: Iterable[str],
    vectors: ArrayLike | None,
    titles: Iterable[str] | None,
    tags: Iterable[Iterable[str]] | None,
    texts: Iterable[str] | None,
) -> ListedItems:
    """Check what of the arguments of `Recommender.add_items` does not depend on the bundle; raises QueryError."""
    ids = strings(item_ids, "item_ids")
    names = ids if titles is None else _per_item(strings(titles, "titles"), "titles", ids)
    listed = None if tags is None else _per_item(_tag_tuples(tags), "tags", ids)
    written = None if texts is None else _per_item(strings(texts, "texts"), "texts", ids)
    if vectors is None and tags is None and texts is None:
        raise QueryError(
            "add_items must be given vectors, tags or texts: an item needs a place; got none of them"
        )
    if vectors is not None and texts is not None:
        raise QueryError("add_items must be given vectors or texts: either says where an item lies; got both")
    if "" in ids:
        raise QueryError(f"item_ids must not be empty; item_ids[{ids.index('')}] is")
    if len(set(ids)) != len(ids):
        twice = next(item_id for item_id, count in Counter(ids).items() if count > 1)
        raise QueryError(f"item_ids must be unique; {twice!r} appears more than once")
    nothing = [""] * len(ids)
    described = zip(
        nothing if titles is None else names, listed or [()] * len(ids), written or nothing, strict=True
    )
    return ListedItems(ids, names, listed, vectors, [describe(*of) for of in described], written is not None)


class ItemPlaces:
    """Where items without a trained vector lie in a bundle's space.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._number = {tag: g for g, tag in enumerate(bundle.manifest.tags)}
        self._tag_vectors = bundle.catalogue.tag_vectors
        self._dims = bundle.manifest.dims
        self._texts = TextPlaces(bundle) if self._dims.text else None

    @property
    def reads_texts(self) -> bool:
        """Whether the bundle has a text encoder."""
        return self._texts is not None

    def place(self, items: ListedItems) -> PlacedItems:
        """Give items a place: their vectors, or what tags and, with a text encoder, descriptions say.

        Parameters
        ----------
        items : ListedItems
            The items.

        Returns
        -------
        PlacedItems
            The items, with vectors and bitsets.

        Raises
        ------
        QueryError
            If a tag is not of the bundle, the vectors do not have its width, or texts were given and it has no text
            encoder. Whether vectors are finite is left to the core.
        BundleError, EngineError, MissingExtraError
            As `TextPlaces.of`.
        """
        if items.texts_given and self._texts is None:
            raise QueryError(
                "texts must be left out, for the bundle has no text encoder to read them; dpr-export --text-encoder "
                "makes one that has"
            )
        tags: list[Tags] = [()] * len(items.ids) if items.tags is None else items.tags
        for item_id, entry in zip(items.ids, tags, strict=True):
            for name in entry:
                if name not in self._number:
                    raise QueryError(
                        f"tags must be of the bundle's {len(self._number)} tags; {name!r} of {item_id!r} is none"
                    )
        numbers = [sorted({self._number[name] for name in entry}) for entry in tags]
        if items.vectors is None:
            vectors = self._said_places(numbers, items.descriptions)
        else:
            vectors = float_array(items.vectors, "vectors", (len(items.ids), self._dims.item))
        return PlacedItems(
            items.ids, items.titles, tags, vectors, self._tag_bits(numbers), items.vectors is None
        )

    def try_out(self) -> None:
        """Read a text, if the bundle can, raising DprError if that fails; what was opened is not kept."""
        if self._texts is not None:
            TextPlaces(self._bundle).of(["something"])

    def knows(self, tags: Iterable[str]) -> bool:
        """Tell whether all of these are tags of the bundle."""
        return all(tag in self._number for tag in tags)

    def _said_places(self, numbers: list[list[int]], descriptions: list[str]) -> NDArray[np.float32]:
        """Return [0 ‖ w], w added up tag by tag and then the text: the same bits whatever is added beside it."""
        vectors = np.zeros((len(numbers), self._dims.item), dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # the core names what is not finite
            for vector, tags in zip(vectors, numbers, strict=True):
                for g in tags:
                    vector[self._dims.user :] += self._tag_vectors[g]
            if self._texts is not None:  # the text part comes last, and tags have nothing there
                vectors[:, -self._dims.text :] += self._texts.of(descriptions)
        return vectors

    def _tag_bits(self, numbers: list[list[int]]) -> NDArray[np.uint64]:
        bits = np.zeros((len(numbers), self._dims.tag_words), dtype=np.uint64)
        for words, tags in zip(bits, numbers, strict=True):
            for g in tags:
                words[g // 64] |= np.uint64(1 << g % 64)
        return bits


def _tag_tuples(tags: Iterable[Iterable[str]]) -> list[Tags]:
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise QueryTypeError(f"tags must be a collection of tags for each item; got {tags!r}")
    return [tuple(strings(entry, f"tags[{i}]")) for i, entry in enumerate(tags)]


def strings(values: Iterable[str], what: str) -> list[str]:
    """Return a collection of str as a list, refusing everything else by QueryTypeError."""
    listed = list(one_list(values, what))
    for i, value in enumerate(listed):
        if not isinstance(value, str):
            raise QueryTypeError(f"{what}[{i}] must be a str; got {value!r}")
    return listed


def _per_item(values: Sequence[T], what: str, ids: list[str]) -> list[T]:
    if len(values) != len(ids):
        raise QueryError(f"{what} must have one entry an item, {len(ids)}; got {len(values)}")
    return list(values)
