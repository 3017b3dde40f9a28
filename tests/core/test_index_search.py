# search() over an index on every SIMD level against the sorted reference scores, bit for bit: over items of all
# kinds, one part and two, batches, threads, k, and penalties.
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, ScoreRule, build_index, supported_simd_levels

LEVELS = supported_simd_levels()

# Widths of the parts, by dimension.
PARTS = [[1], [3], [2, 1], [63], [64], [65], [48, 17], [1000], [900, 100]]


def indexed(vectors: oracle.Floats, parts: list[int], level: str, **arguments: Any) -> Catalogue:
    index = build_index(vectors, parts=parts)
    return Catalogue(vectors, index=index, parts=parts, simd_level=level, **arguments)


def assert_exact(
    catalogue: Catalogue, queries: oracle.Queries, reference: oracle.Floats, k: int, threads: int = 1
) -> None:
    got = queries.search(catalogue, k, threads=threads)
    oracle.assert_same_results(got, [oracle.rank(scores, k) for scores in reference])


def some_queries(
    rng: np.random.Generator, n_queries: int, parts: list[int], n_away: int, phi: str
) -> oracle.Queries:
    """Return queries of which, with two parts, some have nothing in the second."""
    dim = sum(parts)
    queries = oracle.random_queries(rng, n_queries, dim, oracle.random_rule(rng, n_away % 2, n_away, phi))
    if len(parts) == 2:
        without = rng.random(n_queries) < 0.5
        queries.user[without, parts[0] :] = 0
        queries.experts[without, :, parts[0] :] = 0
    return queries


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("n_items", [1, 5, 63, 64, 65, 700])
def test_sizes(level: str, parts: list[int], n_items: int) -> None:
    rng = np.random.default_rng(n_items)
    vectors = item_vectors.clustered(rng, n_items, sum(parts))
    catalogue = indexed(vectors, parts, level)
    for n_queries, n_away, phi in [(1, 0, "relu"), (3, 2, "softplus"), (9, 1, "relu")]:
        queries = some_queries(rng, n_queries, parts, n_away, phi)
        reference = queries.reference(Catalogue(vectors))
        for k in sorted({1, 10, n_items, n_items + 3}):
            assert_exact(catalogue, queries, reference, k, threads=1 + k % 3)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parts", [[16], [11, 5]], ids=str)
@pytest.mark.parametrize("kind", sorted(item_vectors.ALL))
def test_kinds_of_items(level: str, parts: list[int], kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    vectors = item_vectors.ALL[kind](rng, 1500, sum(parts))
    catalogue = indexed(vectors, parts, level)
    for n_queries, n_away in [(1, 0), (2, 2), (8, 0), (10, 1)]:
        for phi in ("relu", "softplus"):
            queries = some_queries(rng, n_queries, parts, n_away, phi)
            reference = queries.reference(Catalogue(vectors))
            for k in (1, 10, 40, 1500):
                assert_exact(catalogue, queries, reference, k)


# Sizes of the query beside which those of the items make underflow, or leave what bounds are made for.
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-20, 1e14, 3e15, 1e22])
def test_short_and_long_queries(level: str, size: float) -> None:
    rng = np.random.default_rng(1)
    for kind in (item_vectors.clustered, item_vectors.denormal, item_vectors.of_all_lengths):
        vectors = kind(rng, 900, 20)
        queries = some_queries(rng, 9, [20], 1, "relu")
        for array in (queries.user, queries.experts):
            array *= np.float32(size)
        reference = queries.reference(Catalogue(vectors))
        assert np.isfinite(reference).all()
        for k in (1, 30):
            assert_exact(indexed(vectors, [14, 6], level), queries, reference, k)


# What underflow takes of a penalty's line, or of a gate times phi, comes back multiplied by long items or by a huge
# strength.
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("phi", ["relu", "softplus"])
@pytest.mark.parametrize(
    ("size", "gate", "strength"),
    [
        (2.0**-149, 1.0, 1.0),
        (1e-42, 0.5, 1.0),
        (1.0, 1.4e-45, 3e38),
        (1.0, 3e38, 1e-38),
        (1e-40, 1e-30, 1e30),
    ],
)
def test_underflow_that_is_multiplied_afterwards(
    level: str, phi: str, size: float, gate: float, strength: float
) -> None:
    rng = np.random.default_rng(0)
    turn = rng.uniform(0, 2 * np.pi, 6400)
    length = 2.0**49 * rng.uniform(0.3, 1, 6400)
    vectors = (np.stack([np.cos(turn), np.sin(turn)], axis=1) * length[:, None]).astype(np.float32)
    rule = ScoreRule(roles=["away"], biases=[0.0], phi=phi, gain=1.0)
    queries = oracle.random_queries(rng, 20, 2, rule)
    queries.user[:] = np.float32(size) * np.array([1, 0], np.float32)
    queries.experts[:] = np.float32(size)
    queries.gates[:], queries.strength[:] = gate, strength
    reference = queries.reference(Catalogue(vectors))
    catalogue = indexed(vectors, [2], level)
    for k in (1, 3, 30):
        assert_exact(catalogue, queries, reference, k)
        assert_exact(catalogue, queries.only(0), reference[:1], k)


# Rounding errors as large as the scores themselves: the dimensions of a query nearly cancel, and so do a query and
# what it stays away from.
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("n_away", "phi"), [(0, "relu"), (2, "relu"), (2, "softplus")])
@pytest.mark.parametrize("parts", [[64], [150, 50]], ids=str)
def test_bounds_allow_for_rounding(level: str, n_away: int, phi: str, parts: list[int]) -> None:
    rng = np.random.default_rng(n_away)
    vectors = item_vectors.parallel(rng, 3000, sum(parts))
    catalogue = indexed(vectors, parts, level)
    rule = ScoreRule(roles=["away"] * n_away, biases=[0.0] * n_away, phi=phi, gain=100.0)
    queries = oracle.random_queries(rng, 60, sum(parts), rule)
    queries.user[:] -= queries.user.mean(axis=1, keepdims=True)
    queries.experts[:] = queries.user[:, None] * (1 + 1e-4 * rng.normal(size=queries.experts.shape))
    queries.gates[:], queries.strength[:] = 0.5, 1
    reference = queries.reference(Catalogue(vectors))
    assert_exact(catalogue, queries, reference, 3)
    for b in range(len(reference)):
        assert_exact(catalogue, queries.only(b), reference[b : b + 1], 3)


class ManyBlocks:
    """Catalogues with several clusters, where floors are found in advance and threads share the blocks."""

    N, PARTS = 40000, [12, 4]

    def __init__(self, kind: str) -> None:
        self.vectors = item_vectors.ALL[kind](np.random.default_rng(5), self.N, sum(self.PARTS))
        self.index = build_index(self.vectors, parts=self.PARTS, threads=2)
        self.plain = Catalogue(self.vectors)

    def queries(self, seed: int, n_queries: int, n_away: int = 0, phi: str = "relu") -> oracle.Queries:
        return some_queries(np.random.default_rng(seed), n_queries, self.PARTS, n_away, phi)

    def catalogue(self, level: str) -> Catalogue:
        return Catalogue(self.vectors, index=self.index, parts=self.PARTS, simd_level=level)


@pytest.fixture(scope="module", params=["clustered", "independent", "tied", "identical"])
def many(request: pytest.FixtureRequest) -> ManyBlocks:
    return ManyBlocks(request.param)


def test_the_index_of_many_items_has_clusters(many: ManyBlocks) -> None:
    assert len(many.index["centres"]) >= 64  # from there on, floors are looked for in the best clusters


@pytest.mark.parametrize("n_queries", [1, 7, 8, 33])
@pytest.mark.parametrize(("n_away", "phi"), [(0, "relu"), (1, "relu"), (2, "softplus")])
def test_batches_threads_and_k(many: ManyBlocks, n_queries: int, n_away: int, phi: str) -> None:
    queries = many.queries(10 * n_queries + n_away, n_queries, n_away, phi)
    reference = queries.reference(many.plain)
    for k in (1, 10, 100):
        expected = [oracle.rank(scores, k) for scores in reference]
        for level in LEVELS:
            for threads in (1, 2, 5):
                got = queries.search(many.catalogue(level), k, threads=threads)
                oracle.assert_same_results(got, expected)


def test_batches_larger_than_a_chunk_and_k_of_all_items(many: ManyBlocks) -> None:
    queries = many.queries(1, 300)
    reference = queries.reference(many.plain)
    expected = [oracle.rank(scores, 20) for scores in reference]
    for threads in (1, 5):
        got = queries.search(many.catalogue(LEVELS[-1]), 20, threads=threads)
        oracle.assert_same_results(got, expected)
    one = queries.only(7)
    oracle.assert_same_results(
        one.search(many.catalogue(LEVELS[-1]), many.N + 1, threads=3), [oracle.rank(reference[7], many.N + 1)]
    )


def test_a_query_that_rejects_what_it_loves(many: ManyBlocks) -> None:
    queries = many.queries(2, 9, 2, "softplus")
    queries.experts[:] = queries.user[:, None]
    queries.gates[:], queries.strength[:] = 1, 1
    reference = queries.reference(many.plain)
    for level in LEVELS:
        for batch, scores in ((queries, reference), (queries.only(0), reference[:1])):
            assert_exact(many.catalogue(level), batch, scores, 10)


def test_queries_that_are_items(many: ManyBlocks) -> None:
    """The best item of a query is itself, so that bounds are met where they are tightest."""
    queries = oracle.plain_queries(many.vectors[:: many.N // 40].copy())
    reference = queries.reference(many.plain)
    for level in LEVELS:
        catalogue = many.catalogue(level)
        assert_exact(catalogue, queries, reference, 5)
        for b in range(len(reference)):
            assert_exact(catalogue, queries.only(b), reference[b : b + 1], 5)


def test_the_index_is_the_same_on_every_level_and_for_any_threads(many: ManyBlocks) -> None:
    for level in LEVELS:
        for threads in (1, 3):
            other = build_index(many.vectors, parts=many.PARTS, threads=threads, simd_level=level)
            assert other.keys() == many.index.keys()
            for name, array in other.items():
                np.testing.assert_array_equal(array, many.index[name], err_msg=name)
