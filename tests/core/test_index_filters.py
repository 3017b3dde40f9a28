# Filters over an index: tags rare and common, excluded rows, short and long lists of allowed rows, items switched
# off, removed and added, all of them at once, against the sorted reference scores.
from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, TagFilter, build_index, supported_simd_levels

LEVELS = supported_simd_levels()
PARTS = [9, 3]
N_TAGS = 12  # tag g is on one item in 2^g: from all items down to very few
Words = NDArray[np.uint64]


def random_tags(rng: np.random.Generator, n_items: int) -> NDArray[np.bool_]:
    """Return (n_items, 128): the tags above stand in either word."""
    tags = np.zeros((n_items, 128), bool)
    tags[:, ::11] = rng.random((n_items, N_TAGS)) < 0.5 ** np.arange(N_TAGS)
    return tags


def pack(tags: NDArray[np.bool_]) -> Words:
    return np.packbits(tags, axis=-1, bitorder="little").view(np.uint64)


def some_of(rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    tags = np.zeros(128, bool)
    tags[11 * rng.choice(N_TAGS, count, replace=False)] = True
    return tags


@dataclasses.dataclass
class Filters:
    """A random choice of filters for a batch: the arguments of search, and which rows pass, (B, n_rows)."""

    arguments: dict[str, Any]
    passes: NDArray[np.bool_]


def add_tags(rng: np.random.Generator, tags: NDArray[np.bool_], filters: Filters) -> None:
    n_queries = len(filters.passes)
    all_of = np.stack([some_of(rng, int(rng.integers(0, 2))) for _ in range(n_queries)])
    none_of = np.stack([some_of(rng, int(rng.integers(0, 2))) for _ in range(n_queries)])
    lengths = rng.integers(0, 3, n_queries)
    having = [some_of(rng, int(rng.integers(0, 4))) for _ in range(lengths.sum())]
    lacking = [some_of(rng, int(rng.integers(0, 2))) for _ in having]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for query in range(n_queries):
        passes = (tags | ~all_of[query]).all(axis=1) & ~(tags & none_of[query]).any(axis=1)
        for clause in range(offsets[query], offsets[query + 1]):
            passes &= (tags & having[clause]).any(axis=1) | (~tags & lacking[clause]).any(axis=1)
        filters.passes[query] &= passes
    empty = np.zeros((0, 128), bool)
    filters.arguments["tag_filter"] = TagFilter(
        all=pack(all_of),
        none=pack(none_of),
        clause_offsets=offsets,
        clause_with=pack(np.array(having) if having else empty),
        clause_without=pack(np.array(lacking) if lacking else empty),
    )


def add_lists(rng: np.random.Generator, name: str, most: int, filters: Filters) -> None:
    n_queries, n_rows = filters.passes.shape
    lists = [rng.integers(0, n_rows, rng.integers(0, most + 1)) for _ in range(n_queries)]
    for passes, rows in zip(filters.passes, lists, strict=True):
        is_listed = np.zeros(n_rows, bool)
        is_listed[rows] = True
        passes &= is_listed if name == "allowed" else ~is_listed
    lengths = [len(rows) for rows in lists]
    filters.arguments[f"{name}_offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    filters.arguments[f"{name}_rows"] = np.concatenate(lists)


def random_filters(rng: np.random.Generator, tags: NDArray[np.bool_], n_queries: int) -> Filters:
    filters = Filters({}, np.ones((n_queries, len(tags)), bool))
    if rng.random() < 0.6:
        add_tags(rng, tags, filters)
    if rng.random() < 0.4:
        add_lists(rng, "excluded", len(tags), filters)
    if rng.random() < 0.4:
        add_lists(rng, "allowed", int(rng.choice([0, 30, 4 * len(tags)])), filters)
    return filters


class Items:
    """Items by row, in a plain catalogue that scores them all, and in one with an index that may change."""

    def __init__(self, rng: np.random.Generator, n_items: int, kind: str = "clustered") -> None:
        self.rng = rng
        self.vectors = item_vectors.ALL[kind](rng, n_items, sum(PARTS))
        self.tags = random_tags(rng, n_items)
        self.findable = np.ones(n_items, bool)
        self.index = build_index(self.vectors, parts=PARTS)
        self.first = (self.vectors, pack(self.tags))

    def catalogue(self, level: str) -> Catalogue:
        return Catalogue(*self.first, index=self.index, parts=PARTS, simd_level=level)

    def change(self, catalogues: list[Catalogue]) -> None:
        """Add, remove and switch off items: the same ones in all catalogues."""
        n_new = int(self.rng.integers(100, 300))
        vectors, tags = item_vectors.clustered(self.rng, n_new, sum(PARTS)), random_tags(self.rng, n_new)
        self.vectors, self.tags = np.concatenate([self.vectors, vectors]), np.concatenate([self.tags, tags])
        self.findable = np.append(self.findable, np.ones(n_new, bool))
        gone, off = np.split(self.rng.choice(np.flatnonzero(self.findable), 180, replace=False), [120])
        self.findable[gone] = self.findable[off] = False
        for catalogue in catalogues:
            assert catalogue.add(vectors, pack(tags)) == len(self.tags) - n_new
            catalogue.remove(gone)
            catalogue.set_available(off, False)

    def check(self, catalogues: list[Catalogue], n_queries: int, n_away: int) -> int:
        """Compare one random batch; return how many of its queries have only some of the rows to choose from."""
        rule = oracle.random_rule(self.rng, 1, n_away, "relu")
        queries = oracle.random_queries(self.rng, n_queries, sum(PARTS), rule)
        filters = random_filters(self.rng, self.tags, n_queries)
        filters.passes &= self.findable
        k = int(self.rng.choice([1, 10, 60, len(self.tags)]))
        reference = queries.reference(Catalogue(self.vectors))
        expected = [
            oracle.rank(*args) for args in zip(reference, [k] * n_queries, filters.passes, strict=True)
        ]
        for catalogue in catalogues:
            got = queries.search(catalogue, k, threads=int(self.rng.integers(1, 4)), **filters.arguments)
            oracle.assert_same_results(got, expected)
        count = filters.passes.sum(axis=1)
        return int(((count > 0) & (count < self.findable.sum())).sum())


@pytest.mark.parametrize("n_items", [70, 2500])
def test_filters(n_items: int) -> None:
    items = Items(np.random.default_rng(n_items), n_items)
    catalogues = [items.catalogue(level) for level in LEVELS]
    n_partial = sum(items.check(catalogues, [1, 2, 9][case % 3], case % 2) for case in range(45))
    assert n_partial > 50, "hardly a filter let a part of the items pass: the test tests nothing"


@pytest.mark.parametrize("kind", ["clustered", "tied"])
def test_filters_while_the_catalogue_changes(kind: str) -> None:
    items = Items(np.random.default_rng(3), 1500, kind)
    catalogues = [items.catalogue(level) for level in LEVELS]
    for step in range(12):
        items.change(catalogues)
        for case in range(4):
            items.check(catalogues, [1, 9][case % 2], case % 2)
        if step % 4 == 3:
            catalogues[step % len(catalogues)].compact(threads=2)


def test_filters_on_many_blocks() -> None:
    items = Items(np.random.default_rng(4), 12000)
    catalogues = [items.catalogue(level) for level in LEVELS]
    for case in range(12):
        items.check(catalogues, [1, 9][case % 2], case % 3)


@pytest.mark.parametrize("level", LEVELS)
def test_rare_tags_that_share_their_items(level: str) -> None:
    """An item that meets a clause by several tags is found once."""
    rng = np.random.default_rng(5)
    vectors = item_vectors.clustered(rng, 5000, sum(PARTS))
    tags = np.zeros((5000, 64), bool)
    rows = np.sort(rng.choice(5000, 16, replace=False))
    tags[rows, 3] = tags[rows[3:], 40] = tags[rows[:-3], 63] = True
    none, clause = np.zeros((1, 1), np.uint64), np.zeros((1, 64), bool)
    clause[0, [3, 40, 63]] = True
    tag_filter = TagFilter(
        all=none, none=none, clause_offsets=np.array([0, 1]), clause_with=pack(clause), clause_without=none
    )
    catalogue = Catalogue(
        vectors, pack(tags), index=build_index(vectors, parts=PARTS), parts=PARTS, simd_level=level
    )
    queries = oracle.random_queries(rng, 1, sum(PARTS), oracle.random_rule(rng, 1, 1, "relu"))
    reference = queries.reference(catalogue)[0]
    for k in (5, 100):
        got = queries.search(catalogue, k, tag_filter=tag_filter)
        oracle.assert_same_results(got, [oracle.rank(reference, k, tags[:, 3])])
