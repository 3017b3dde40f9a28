# Ties, short results, filters at their limits, and scores that overflow.
import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, ScoreRule, TagFilter, supported_simd_levels

LEVELS = supported_simd_levels()


def exclude(*rows_of_query: list[int]) -> dict[str, np.ndarray]:
    lengths = [len(rows) for rows in rows_of_query]
    return {
        "excluded_offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "excluded_rows": np.array([row for rows in rows_of_query for row in rows], np.int64),
    }


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("phi", ["relu", "softplus"])
def test_identical_items_come_in_row_order(level: str, phi: str) -> None:
    rng = np.random.default_rng(1)
    vectors = np.repeat(rng.normal(size=(7, 30)).astype(np.float32), 300, axis=0)
    rng.shuffle(vectors)
    queries = oracle.random_queries(rng, 3, 30, oracle.random_rule(rng, 1, 1, phi))
    reference = queries.reference(Catalogue(vectors))
    for k in (1, 299, 300, 301, 1000):
        got = queries.search(Catalogue(vectors, simd_level=level), k)
        oracle.assert_same_results(got, [oracle.rank(scores, k) for scores in reference])


@pytest.mark.parametrize("level", LEVELS)
def test_zero_vectors_all_tie(level: str) -> None:
    catalogue = Catalogue(np.zeros((3000, 12), np.float32), simd_level=level)
    rows, scores = oracle.plain_queries(np.ones((2, 12), np.float32)).search(catalogue, 5)
    np.testing.assert_array_equal(rows, [[0, 1, 2, 3, 4]] * 2)
    assert (scores == 0).all()


def test_negative_zero_ties_with_positive_zero() -> None:
    # An underflown product in every lane leaves -0 where there is no padding: dim 16.
    vectors = np.full((4, 16), 1e-30, np.float32)
    vectors[::2] *= -1
    queries = oracle.plain_queries(np.full((1, 16), 1e-30, np.float32))
    assert np.signbit(queries.reference(Catalogue(vectors))).tolist() == [[True, False, True, False]]
    for level in LEVELS:
        rows, scores = queries.search(Catalogue(vectors, simd_level=level), 4)
        assert rows.tolist() == [[0, 1, 2, 3]]
        assert np.signbit(scores).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("level", LEVELS)
def test_k_beyond_the_catalogue_pads(level: str) -> None:
    catalogue = Catalogue(np.array([[1.0], [3.0], [2.0]], np.float32), simd_level=level)
    rows, scores = oracle.plain_queries(np.ones((1, 1), np.float32)).search(catalogue, 5)
    assert rows.tolist() == [[1, 2, 0, -1, -1]]
    assert scores.tolist() == [[3.0, 2.0, 1.0, -np.inf, -np.inf]]


def test_no_queries_give_no_results() -> None:
    rows, scores = oracle.plain_queries(np.zeros((0, 4), np.float32)).search(
        Catalogue(np.ones((3, 4), np.float32)), 2
    )
    assert rows.shape == scores.shape == (0, 2)


@pytest.mark.parametrize("level", LEVELS)
def test_excluded_rows_need_not_be_sorted_or_unique(level: str) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(500, 20)).astype(np.float32)
    queries = oracle.random_queries(rng, 3, 20, oracle.random_rule(rng, 1, 1, "relu"))
    excluded = [rng.integers(0, 500, 400).tolist(), [], list(range(499, -1, -1))]
    reference = queries.reference(Catalogue(vectors))
    allowed = [~np.isin(np.arange(500), rows) for rows in excluded]
    got = queries.search(Catalogue(vectors, simd_level=level), 500, **exclude(*excluded))
    oracle.assert_same_results(
        got, [oracle.rank(*args) for args in zip(reference, [500] * 3, allowed, strict=True)]
    )
    assert (got[0][2] == -1).all()


def test_the_callers_excluded_rows_are_left_as_they_are() -> None:
    filters = exclude([2, 0, 2])
    oracle.plain_queries(np.ones((1, 1), np.float32)).search(
        Catalogue(np.ones((3, 1), np.float32)), 1, **filters
    )
    assert filters["excluded_rows"].tolist() == [2, 0, 2]


@pytest.mark.parametrize("level", LEVELS)
def test_everything_filtered(level: str) -> None:
    tags = np.zeros((100, 1), np.uint64)
    catalogue = Catalogue(np.ones((100, 3), np.float32), tags, simd_level=level)
    none = np.zeros((1, 1), np.uint64)
    tag_filter = TagFilter(
        all=none + np.uint64(1),
        none=none,
        clause_offsets=np.zeros(2, np.int64),
        clause_with=none[:0],
        clause_without=none[:0],
    )
    rows, scores = oracle.plain_queries(np.ones((1, 3), np.float32)).search(
        catalogue, 4, tag_filter=tag_filter
    )
    assert rows.tolist() == [[-1] * 4]
    assert scores.tolist() == [[-np.inf] * 4]


HUGE = np.float32(3e38)


@pytest.mark.parametrize("level", LEVELS)
def test_a_score_that_overflows_is_refused_when_it_is_a_result(level: str) -> None:
    vectors = np.array([[1, 0], [2, -2], [0.5, 0]], np.float32)  # row 1: inf - inf
    queries = oracle.plain_queries(np.array([[HUGE, HUGE]]))
    catalogue = Catalogue(vectors, simd_level=level)
    assert np.isnan(queries.reference(catalogue)[0, 1])
    assert queries.search(catalogue, 2)[0].tolist() == [[0, 2]]  # NaN ranks last
    with pytest.raises(ValueError, match="query 0: score of item row 1"):
        queries.search(catalogue, 3)
    vectors[1] = [2, 2]
    with pytest.raises(ValueError, match="query 0: score of item row 1"):
        queries.search(Catalogue(vectors, simd_level=level), 1)


@pytest.mark.parametrize("level", LEVELS)
def test_items_that_overflow_do_not_disturb_the_order_of_the_others(level: str) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(3000, 2)).astype(np.float32)
    overflown = rng.random(3000) < 0.3
    vectors[overflown] = [HUGE, -HUGE]
    queries = oracle.plain_queries(np.array([[3, 3]], np.float32))
    scores = queries.reference(Catalogue(vectors))[0]
    np.testing.assert_array_equal(np.isnan(scores), overflown)
    k = int((~overflown).sum())
    got = queries.search(Catalogue(vectors, simd_level=level), k)
    oracle.assert_same_results(got, [oracle.rank(scores, k, ~overflown)])


def test_a_penalty_that_overflows_ranks_last() -> None:
    rule = ScoreRule(roles=["away"], biases=[0.0], phi="relu")
    queries = oracle.Queries(
        user=np.ones((1, 1), np.float32),
        experts=np.full((1, 1, 1), HUGE),
        gates=np.ones((1, 1), np.float32),
        strength=np.ones(1, np.float32),
        rule=rule,
    )
    catalogue = Catalogue(np.array([[10.0], [-1.0]], np.float32))
    assert queries.search(catalogue, 1)[0].tolist() == [[1]]
    with pytest.raises(ValueError, match="item row 0"):
        queries.search(catalogue, 2)


def test_a_penalty_that_is_nan_ranks_last() -> None:
    queries = oracle.Queries(
        user=np.ones((1, 2), np.float32),
        experts=np.full((1, 1, 2), HUGE),
        gates=np.ones((1, 1), np.float32),
        strength=np.ones(1, np.float32),
        rule=ScoreRule(roles=["away"], biases=[0.0], phi="relu"),
    )
    catalogue = Catalogue(np.array([[20.0, -10.0], [-1.0, 0.0]], np.float32))  # row 0: inf - inf
    assert np.isnan(queries.reference(catalogue)).tolist() == [[True, False]]
    assert queries.search(catalogue, 1)[0].tolist() == [[1]]


def test_a_steered_query_that_overflows_is_refused() -> None:
    rule = ScoreRule(roles=["toward"], biases=[0.0], phi="relu")
    queries = oracle.Queries(
        user=np.zeros((2, 1), np.float32),
        experts=np.array([[[1.0]], [[HUGE]]], np.float32),
        gates=np.full((2, 1), 10, np.float32),
        strength=np.ones(2, np.float32),
        rule=rule,
    )
    catalogue = Catalogue(np.ones((1, 1), np.float32))
    with pytest.raises(ValueError, match="query 1: user \\+ strength"):
        queries.search(catalogue, 1)
    with pytest.raises(ValueError, match="query 1: user \\+ strength"):
        queries.reference(catalogue)
