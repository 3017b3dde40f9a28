# search() on every SIMD level against lexsort of the reference scores, bit for bit, at sizes with every tail.
import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, supported_simd_levels

DIMS = [1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 100, 128, 1000]
SIZES = [1, 2, 3, 4, 5, 15, 16, 17, 100, 1000]


def assert_exact(
    vectors: oracle.Floats, queries: oracle.Queries, k: int, level: str, reference: oracle.Floats
) -> None:
    got = queries.search(Catalogue(vectors, simd_level=level), k)
    oracle.assert_same_results(got, [oracle.rank(scores, k) for scores in reference])


@pytest.mark.parametrize("level", supported_simd_levels())
@pytest.mark.parametrize("dim", DIMS)
def test_every_score(level: str, dim: int) -> None:
    rng = np.random.default_rng(dim)
    for n_items in SIZES:
        vectors = rng.normal(size=(n_items, dim)).astype(np.float32)
        queries = oracle.plain_queries(rng.normal(size=(2, dim)).astype(np.float32))
        assert_exact(vectors, queries, n_items, level, queries.reference(Catalogue(vectors)))


@pytest.mark.parametrize("level", supported_simd_levels())
@pytest.mark.parametrize("phi", ["relu", "softplus"])
@pytest.mark.parametrize("n_toward", [0, 1, 3])
@pytest.mark.parametrize("n_away", [0, 1, 3])
def test_experts(level: str, phi: str, n_toward: int, n_away: int) -> None:
    rng = np.random.default_rng(10 * n_toward + n_away)
    rule = oracle.random_rule(rng, n_toward, n_away, phi)
    for n_queries, n_items, dim in [(1, 3, 96), (2, 100, 17), (3, 1500, 33), (5, 800, 64)]:
        vectors = rng.normal(size=(n_items, dim)).astype(np.float32)
        queries = oracle.random_queries(rng, n_queries, dim, rule, user_dim=int(rng.integers(0, dim + 1)))
        reference = queries.reference(Catalogue(vectors))
        for k in (1, 10, n_items):
            assert_exact(vectors, queries, k, level, reference)


@pytest.mark.parametrize("level", supported_simd_levels())
def test_more_rows_than_a_tile_in_rising_and_falling_order(level: str) -> None:
    ramp = np.linspace(-1, 1, 20000, dtype=np.float32)[:, None]
    for vectors in (ramp, ramp[::-1].copy()):
        queries = oracle.plain_queries(np.ones((1, 1), np.float32))
        reference = queries.reference(Catalogue(vectors))
        for k in (1, 100, 20000):
            assert_exact(vectors, queries, k, level, reference)


@pytest.mark.parametrize("level", supported_simd_levels())
def test_denormals_signed_zeros_and_huge_norms(level: str) -> None:
    rng = np.random.default_rng(7)
    choices = np.array([0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38, 1e-19, 1.0, -1.0, 1e18, -1e18], np.float32)
    for dim in (1, 5, 16, 21, 48):
        vectors = rng.choice(choices, (700, dim))
        queries = oracle.random_queries(rng, 3, dim, oracle.random_rule(rng, 1, 2, "softplus"))
        queries.user[:] = rng.choice(choices, queries.user.shape)
        queries.experts[:] = rng.choice(choices, queries.experts.shape)
        reference = queries.reference(Catalogue(vectors))
        assert np.isfinite(reference).all()
        for k in (1, 50, 700):
            assert_exact(vectors, queries, k, level, reference)
