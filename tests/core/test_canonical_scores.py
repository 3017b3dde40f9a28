# The scalar reference against an independent statement of the canonical arithmetic, bit for bit.
import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, supported_simd_levels

DIMS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 100, 128, 1000]


def assert_same_bits(got: oracle.Floats, expected: oracle.Floats) -> None:
    np.testing.assert_array_equal(got.view(np.int32), expected.view(np.int32))


def test_oracle_fma_rounds_once() -> None:
    # (1 + 2^-12)^2 - 1 keeps its 2^-24, which a product rounded to float32 loses.
    a = np.array([1 + 2**-12], np.float32)
    assert oracle.fma32(a, a, np.array([-1], np.float32))[0] == np.float32(2**-11 + 2**-24)
    # Just above a midpoint between two float32, by less than float64 can hold beside it.
    b = np.array([1 + 2**-23], np.float32)
    above = oracle.fma32(np.array([2**-30], np.float32), np.array([2**-40], np.float32), b)
    assert above[0] == b[0]
    tie = np.array([2**-24], np.float32), np.array([1], np.float32), np.array([1], np.float32)
    assert oracle.fma32(*tie)[0] == 1
    nudged = oracle.fma32(np.array([2**-24], np.float32), np.array([1 + 2**-23], np.float32), tie[2])
    assert nudged[0] == np.float32(1 + 2**-23)


@pytest.mark.parametrize("dim", DIMS)
def test_dot_products(dim: int) -> None:
    rng = np.random.default_rng(dim)
    vectors = (rng.normal(size=(50, dim)) * 10.0 ** rng.integers(-3, 4, (50, dim))).astype(np.float32)
    user = rng.normal(size=(2, dim)).astype(np.float32)
    scores = oracle.plain_queries(user).reference(Catalogue(vectors))
    for query in range(2):
        assert_same_bits(scores[query], oracle.canonical_dot(user[query], vectors))


@pytest.mark.parametrize("dim", [1, 15, 16, 17, 40])
def test_underflow_and_the_sign_of_zero(dim: int) -> None:
    rng = np.random.default_rng(dim)
    choices = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-30, -1e-30, 1e-20, -1e-20], np.float32)
    vectors = rng.choice(choices, (400, dim))
    user = rng.choice(choices, (3, dim))
    scores = oracle.plain_queries(user).reference(Catalogue(vectors))
    for query in range(3):
        assert_same_bits(scores[query], oracle.canonical_dot(user[query], vectors))


@pytest.mark.parametrize(
    ("dim", "is_negative"), [(16, True), (17, False), (24, False), (31, False), (32, True)]
)
@pytest.mark.parametrize("level", supported_simd_levels())
def test_padding_makes_an_underflown_sum_positive_zero(dim: int, is_negative: bool, level: str) -> None:
    tiny = np.full((5, dim), 1e-30, np.float32)
    for vectors, user in ((-tiny, tiny[:1]), (tiny, -tiny[:1])):
        queries = oracle.plain_queries(user)
        catalogue = Catalogue(vectors, simd_level=level)
        for scores in (queries.reference(catalogue), queries.search(catalogue, 5)[1]):
            np.testing.assert_array_equal(scores, 0)
            np.testing.assert_array_equal(np.signbit(scores), is_negative)


@pytest.mark.parametrize("user_dim", [0, 1, 16, 23])
@pytest.mark.parametrize("n_toward", [0, 1, 3])
@pytest.mark.parametrize("n_away", [0, 1, 3])
def test_steered_scores(user_dim: int, n_toward: int, n_away: int) -> None:
    rng = np.random.default_rng(100 * user_dim + 10 * n_toward + n_away)
    rule = oracle.random_rule(rng, n_toward, n_away, "relu")
    queries = oracle.random_queries(rng, 5, 23, rule, user_dim=user_dim)
    vectors = rng.normal(size=(40, 23)).astype(np.float32)
    scores = queries.reference(Catalogue(vectors))
    for query in range(5):
        assert_same_bits(scores[query], oracle.score_relu(queries, query, vectors))


@pytest.mark.parametrize("phi", ["relu", "softplus"])
@pytest.mark.parametrize("zeroed", ["gates", "strength"])
def test_nothing_to_add_is_the_plain_ranking(phi: str, zeroed: str) -> None:
    rng = np.random.default_rng(4)
    queries = oracle.random_queries(rng, 4, 32, oracle.random_rule(rng, 2, 2, phi))
    vectors = rng.normal(size=(60, 32)).astype(np.float32)
    # Lanes that underflow to -0 and stay so while -0 is added: a query with +0 there would score +0.
    queries.user[0] = np.repeat(np.array([1e-30, -0.0], np.float32), 16)
    vectors[7] = np.repeat(np.array([-1e-30, 1.0], np.float32), 16)
    queries.gates[:], queries.strength[:] = 1, 1
    getattr(queries, zeroed)[:] = 0
    if zeroed == "gates":
        queries.experts[1] = np.finfo(np.float32).max  # 0 * infinity would be NaN
    catalogue = Catalogue(vectors)
    assert np.signbit(oracle.plain_queries(queries.user).reference(catalogue)[0, 7])
    assert_same_bits(queries.reference(catalogue), oracle.plain_queries(queries.user).reference(catalogue))
