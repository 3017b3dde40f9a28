# Bounds are used: counters tell how much of a catalogue a search did not read.
from __future__ import annotations

import numpy as np
import pytest

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, SearchCounters, build_index, supported_simd_levels

N, DIM = 60000, 32
LEVELS = supported_simd_levels()


class Built:
    """Items and their index."""

    def __init__(self, vectors: oracle.Floats) -> None:
        self.vectors = vectors
        self.index = build_index(vectors, parts=[DIM], threads=2)
        self.n_blocks = len(self.index["cluster"])

    def counts(self, queries: oracle.Queries, level: str | None = None, threads: int = 1) -> SearchCounters:
        catalogue = Catalogue(self.vectors, index=self.index, simd_level=level)
        counters = SearchCounters()
        queries.search(catalogue, 10, counters=counters, threads=threads)
        return counters


@pytest.fixture(scope="module")
def clustered() -> Built:
    return Built(item_vectors.clustered(np.random.default_rng(1), N, DIM))


@pytest.fixture(scope="module")
def independent() -> Built:
    return Built(item_vectors.independent(np.random.default_rng(2), N // 3, DIM))


def near(built: Built, n_queries: int) -> oracle.Queries:
    """Return queries that point the way of some item, as users do."""
    rows = np.random.default_rng(n_queries).integers(0, N, n_queries)
    return oracle.plain_queries(built.vectors[rows] + np.float32(0.02))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("n_queries", "threads"), [(1, 1), (1, 3), (7, 1), (8, 1), (40, 2)])
def test_most_of_a_clustered_catalogue_is_never_read(
    clustered: Built, level: str, n_queries: int, threads: int
) -> None:
    done = clustered.counts(near(clustered, n_queries), level, threads)
    assert done.n_pairs == n_queries * clustered.n_blocks
    assert 0 < done.n_pairs_scanned < 0.4 * done.n_pairs
    assert 10 * n_queries <= done.n_rescored < 0.02 * N * n_queries


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_queries", [1, 40])
def test_most_pairs_of_independent_vectors_are_read(independent: Built, level: str, n_queries: int) -> None:
    user = item_vectors.independent(np.random.default_rng(3), n_queries, DIM)
    done = independent.counts(oracle.plain_queries(user), level)
    assert done.n_pairs == n_queries * independent.n_blocks
    assert done.n_pairs_scanned > 0.9 * done.n_pairs
    assert (
        done.n_rescored < 0.1 * len(independent.vectors) * n_queries
    )  # the codes tell most apart all the same


def test_counters_add_up_and_do_not_change_the_answer(clustered: Built) -> None:
    catalogue = Catalogue(clustered.vectors, index=clustered.index)
    queries = near(clustered, 3)
    counters = SearchCounters()
    assert (counters.n_pairs, counters.n_pairs_scanned, counters.n_rescored) == (0, 0, 0)
    first = queries.search(catalogue, 10, counters=counters)
    once = (counters.n_pairs, counters.n_pairs_scanned, counters.n_rescored)
    second = queries.search(catalogue, 10, counters=counters)
    assert (counters.n_pairs, counters.n_pairs_scanned, counters.n_rescored) == tuple(2 * n for n in once)
    for rows, scores in (second, queries.search(catalogue, 10)):
        np.testing.assert_array_equal(rows, first[0])
        np.testing.assert_array_equal(scores, first[1])


def test_a_catalogue_without_an_index_scores_everything() -> None:
    vectors = item_vectors.clustered(np.random.default_rng(4), 500, 8)
    counters = SearchCounters()
    oracle.plain_queries(vectors[:3].copy()).search(Catalogue(vectors), 10, counters=counters)
    assert (counters.n_pairs, counters.n_pairs_scanned, counters.n_rescored) == (0, 0, 1500)
