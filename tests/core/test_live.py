# Adding, removing, switching off and compacting, in any order: the next search and every number agree with a plain
# list of the items. And the arguments that are refused.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, build_index, supported_simd_levels

DIM, PARTS = 10, [6, 4]


class Items:
    """All rows that were ever given out, what became of them, and the catalogue that should know it."""

    def __init__(self, seed: int, n_items: int, *, with_index: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.vectors = item_vectors.tied(self.rng, n_items, DIM)
        self.removed, self.off = np.zeros(n_items, bool), np.zeros(n_items, bool)
        index = {"index": build_index(self.vectors, parts=PARTS), "parts": PARTS} if with_index else {}
        self.catalogue = Catalogue(self.vectors, **index)

    def add(self, n_items: int) -> None:
        vectors = item_vectors.tied(self.rng, n_items, DIM)
        given = vectors.copy()
        assert self.catalogue.add(given) == len(self.vectors)
        given[:] = 9  # they were copied
        self.vectors = np.concatenate([self.vectors, vectors])
        self.removed = np.append(self.removed, np.zeros(n_items, bool))
        self.off = np.append(self.off, np.zeros(n_items, bool))

    def pick(self, most: int) -> NDArray[np.int64]:
        here = np.flatnonzero(~self.removed)
        return self.rng.choice(here, min(len(here), int(self.rng.integers(0, most + 1))), replace=False)

    def change(self) -> None:
        kind = self.rng.integers(0, 10)
        if kind < 4:
            self.add(int(self.rng.integers(0, 100)))
        elif kind < 7:
            rows = self.pick(80)
            self.catalogue.remove(rows)
            self.removed[rows] = True
        elif kind < 9:
            rows, available = self.pick(40), bool(self.rng.random() < 0.5)
            self.catalogue.set_available(rows, available)
            self.off[rows] = not available
        else:
            self.catalogue.compact(threads=int(self.rng.integers(1, 3)))
            assert self.catalogue.n_pending == 0

    def check(self) -> None:
        here = ~self.removed
        assert (self.catalogue.n_rows, self.catalogue.n_items) == (len(here), here.sum())
        queries = oracle.random_queries(
            self.rng, int(self.rng.integers(1, 10)), DIM, oracle.random_rule(self.rng, 1, 1, "relu")
        )
        reference = queries.reference(self.catalogue)
        np.testing.assert_array_equal(
            reference, np.where(here, queries.reference(Catalogue(self.vectors)), np.float32(np.nan))
        )
        k = int(self.rng.choice([1, 10, 50, len(here)]))
        expected = [oracle.rank(scores, k, here & ~self.off) for scores in reference]
        oracle.assert_same_results(queries.search(self.catalogue, k, threads=2), expected)


@pytest.mark.parametrize("with_index", [False, True], ids=["plain", "index"])
@pytest.mark.parametrize("n_items", [1, 5, 63, 64, 65, 128, 600])
def test_a_long_series_of_changes(n_items: int, with_index: bool) -> None:
    items = Items(n_items, n_items, with_index=with_index)
    for _ in range(60):
        items.change()
        items.check()


def test_everything_removed_and_new_items_afterwards() -> None:
    items = Items(1, 70, with_index=True)
    rows = np.arange(70)
    items.catalogue.remove(rows)
    items.removed[rows] = True
    items.check()
    items.catalogue.compact()
    items.check()
    assert items.catalogue.arrays()["vectors"].shape == (0, DIM)
    items.add(3)
    items.check()
    items.catalogue.compact()
    items.check()
    assert items.catalogue.arrays()["row_ids"].tolist() == [70, 71, 72]
    items.catalogue.check_index()


def test_pending_changes_are_counted() -> None:
    items = Items(2, 100, with_index=True)
    assert items.catalogue.n_pending == 0
    items.catalogue.set_available(np.arange(5), False)
    assert items.catalogue.n_pending == 0  # nothing to tidy up
    items.add(7)
    assert items.catalogue.n_pending == 7
    items.catalogue.remove(np.array([3, 104]))
    assert items.catalogue.n_pending == 9
    items.catalogue.compact()
    assert items.catalogue.n_pending == 0
    assert items.catalogue.n_rows == 107


def test_removed_rows_are_never_given_out_again() -> None:
    items = Items(3, 10, with_index=False)
    items.catalogue.remove(np.array([9]))
    items.catalogue.compact()
    assert items.catalogue.add(np.ones((1, DIM), np.float32)) == 10
    with pytest.raises(ValueError, match="rows: expected rows of items, got 9, which was removed"):
        items.catalogue.set_available(np.array([9]), True)


@pytest.mark.parametrize("with_index", [False, True], ids=["plain", "index"])
def test_the_arrays_of_a_compacted_catalogue_make_the_same_one(with_index: bool) -> None:
    items = Items(4, 500, with_index=with_index)
    for _ in range(30):
        items.change()
    items.catalogue.compact(threads=2)
    arrays = items.catalogue.arrays()
    vectors, rows, available = (arrays.pop(name) for name in ("vectors", "row_ids", "available"))
    np.testing.assert_array_equal(rows, np.flatnonzero(~items.removed))
    np.testing.assert_array_equal(vectors, items.vectors[rows])
    np.testing.assert_array_equal(available, ~items.off[rows])
    index = {"index": arrays, "parts": PARTS} if with_index else {}
    again = Catalogue(vectors, **index, row_ids=rows, n_rows=items.catalogue.n_rows)
    again.check_index()
    again.set_available(rows[~available], False)
    items.catalogue = again
    for _ in range(20):
        items.check()
        items.change()


def test_tags_come_along() -> None:
    vectors, tags = np.ones((5, 2), np.float32), np.arange(5, dtype=np.uint64)[:, None]
    catalogue = Catalogue(vectors, tags)
    assert catalogue.add(vectors[:2], tags[:2] + np.uint64(100)) == 5
    catalogue.remove(np.array([0, 5]))
    catalogue.compact()
    assert catalogue.arrays()["tag_bits"].tolist() == [[1], [2], [3], [4], [101]]


def test_arrays_need_a_compacted_catalogue() -> None:
    items = Items(5, 20, with_index=True)
    items.add(3)
    with pytest.raises(ValueError, match="expected a compacted catalogue, got one with 3 items pending"):
        items.catalogue.arrays()


def test_rows_of_items_that_are_there_before() -> None:
    vectors = item_vectors.independent(np.random.default_rng(0), 4, 3)
    catalogue = Catalogue(vectors, row_ids=np.array([2, 5, 64, 130]), n_rows=200)
    assert (catalogue.n_rows, catalogue.n_items, catalogue.n_pending) == (200, 4, 0)
    queries = oracle.plain_queries(vectors[:1].copy())
    assert sorted(queries.search(catalogue, 4)[0][0].tolist()) == [2, 5, 64, 130]
    assert np.flatnonzero(~np.isnan(queries.reference(catalogue)[0])).tolist() == [2, 5, 64, 130]
    with pytest.raises(ValueError, match="got 3, which was removed"):
        catalogue.remove(np.array([3]))
    assert catalogue.add(vectors[:1]) == 200
    assert Catalogue(vectors, row_ids=np.array([2, 5, 64, 130])).n_rows == 131


def catalogue() -> Catalogue:
    made = Catalogue(np.ones((70, 2), np.float32))
    made.remove(np.array([5]))
    return made


def tagged() -> Catalogue:
    return Catalogue(np.ones((3, 2), np.float32), np.zeros((3, 1), np.uint64))


ONE = np.ones((1, 2), np.float32)
NO_ROWS = np.zeros(0, np.int64)

WRONG_CHANGES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: catalogue().add(np.ones((1, 2))), TypeError, "vectors: expected dtype float32, got float64"),
    (lambda: catalogue().add(ONE[0]), ValueError, "vectors: expected rank 2, got rank 1"),
    (
        lambda: catalogue().add(np.ones((1, 3), np.float32)),
        ValueError,
        r"vectors: expected shape \(1, 2\), got \(1, 3\)",
    ),
    (
        lambda: catalogue().add(ONE * np.nan),
        ValueError,
        "vectors, row 0, column 0: expected a finite number, got nan",
    ),
    (
        lambda: catalogue().add(ONE * np.inf),
        ValueError,
        "vectors, row 0, column 0: expected a finite number, got inf",
    ),
    (lambda: catalogue().add(ONE, np.zeros((1, 1), np.uint64)), ValueError, "tag_bits: expected none, as"),
    (
        lambda: tagged().add(ONE),
        ValueError,
        "tag_bits: expected an array, as the catalogue has tags, got none",
    ),
    (
        lambda: tagged().add(ONE, np.zeros((1, 2), np.uint64)),
        ValueError,
        r"tag_bits: expected shape \(1, 1\)",
    ),
    (
        lambda: tagged().add(ONE, np.zeros((1, 1), int)),
        TypeError,
        "tag_bits: expected dtype uint64, got int64",
    ),
    (lambda: catalogue().remove([1]), TypeError, "rows: expected a numpy.ndarray of int64, got list"),
    (lambda: catalogue().remove(np.array([1], np.int32)), TypeError, "rows: expected dtype int64, got int32"),
    (lambda: catalogue().remove(np.array([[1]])), ValueError, "rows: expected rank 1, got rank 2"),
    (lambda: catalogue().remove(np.array([70])), ValueError, r"rows: expected rows in \[0, 70\), got 70"),
    (lambda: catalogue().remove(np.array([-1])), ValueError, r"rows: expected rows in \[0, 70\), got -1"),
    (
        lambda: catalogue().remove(np.array([5])),
        ValueError,
        "rows: expected rows of items, got 5, which was removed",
    ),
    (
        lambda: catalogue().remove(np.array([1, 2, 1])),
        ValueError,
        "rows: expected each row once, got 1 twice",
    ),
    (
        lambda: catalogue().set_available(np.array([70]), True),
        ValueError,
        r"rows: expected rows in \[0, 70\)",
    ),
    (lambda: catalogue().set_available(np.array([5]), True), ValueError, "got 5, which was removed"),
    (lambda: catalogue().set_available(NO_ROWS, "yes"), TypeError, "incompatible function arguments"),
    (lambda: catalogue().compact(threads=0), ValueError, "threads: expected a number >= 1, got 0"),
]


@pytest.mark.parametrize(("change", "error", "message"), WRONG_CHANGES)
def test_wrong_changes(change: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        change()


def test_a_change_that_is_refused_changes_nothing() -> None:
    made = catalogue()
    for rows in ([0, 70], [1, -1], [2, 5], [3, 4, 3]):
        with pytest.raises(ValueError, match="rows: expected"):
            made.remove(np.array(rows))
    with pytest.raises(ValueError, match="rows: expected"):
        made.set_available(np.array([6, 5]), False)
    with pytest.raises(ValueError, match="row 1, column 1"):
        made.add(np.array([[1, 1], [1, np.nan]], np.float32))
    assert (made.n_items, made.n_rows) == (69, 70)
    found = oracle.plain_queries(ONE).search(made, 70)[0][0]
    assert found[:69].tolist() == [row for row in range(70) if row != 5]


def test_changes_of_nothing() -> None:
    made = catalogue()
    assert made.add(np.zeros((0, 2), np.float32)) == 70
    made.remove(NO_ROWS)
    made.set_available(NO_ROWS, False)
    assert (made.n_items, made.n_rows, made.n_pending) == (69, 70, 1)


@pytest.mark.parametrize("level", supported_simd_levels())
def test_a_compacted_catalogue_keeps_its_level_and_parts(level: str) -> None:
    vectors = item_vectors.clustered(np.random.default_rng(1), 100, DIM)
    made = Catalogue(vectors, index=build_index(vectors, parts=PARTS), parts=PARTS, simd_level=level)
    made.remove(np.array([3]))
    made.compact()
    assert (made.simd_level, made.parts) == (level, PARTS)
    assert made.arrays()["bounds"].shape[0] == 2
