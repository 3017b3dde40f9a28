# Properties of search that hold for any catalogue. Small integers as coordinates make many ties.
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core import oracle
from dpr_infer._core import Catalogue, supported_simd_levels

levels = st.sampled_from(supported_simd_levels())


@st.composite
def cases(draw: st.DrawFn) -> tuple[oracle.Floats, oracle.Queries]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dim = draw(st.integers(1, 40))
    rule = oracle.random_rule(
        rng, draw(st.integers(0, 3)), draw(st.integers(0, 3)), draw(st.sampled_from(["relu", "softplus"]))
    )
    queries = oracle.random_queries(
        rng, draw(st.integers(1, 4)), dim, rule, user_dim=draw(st.integers(0, dim))
    )
    if draw(st.booleans()):
        queries.user[:] = rng.integers(-2, 3, queries.user.shape)
        queries.experts[:] = rng.integers(-2, 3, queries.experts.shape)
    vectors = rng.integers(-2, 3, (draw(st.integers(1, 900)), dim)).astype(np.float32)
    return vectors, queries


@settings(max_examples=60, deadline=None)
@given(case=cases(), level=levels, seed=st.integers(0, 2**32), k=st.integers(1, 50))
def test_permuting_items_permutes_results(
    case: tuple[oracle.Floats, oracle.Queries], level: str, seed: int, k: int
) -> None:
    vectors, queries = case
    order = np.random.default_rng(seed).permutation(len(vectors))
    scores = queries.reference(Catalogue(vectors))
    permuted = Catalogue(vectors[order], simd_level=level)
    np.testing.assert_array_equal(queries.reference(permuted), scores[:, order])
    oracle.assert_same_results(queries.search(permuted, k), [oracle.rank(row[order], k) for row in scores])


@settings(max_examples=60, deadline=None)
@given(case=cases(), level=levels, k=st.integers(1, 1000))
def test_top_k_is_a_prefix_of_the_next(
    case: tuple[oracle.Floats, oracle.Queries], level: str, k: int
) -> None:
    vectors, queries = case
    catalogue = Catalogue(vectors, simd_level=level)
    rows, scores = queries.search(catalogue, k)
    more_rows, more_scores = queries.search(catalogue, k + 1)
    np.testing.assert_array_equal(rows, more_rows[:, :k])
    np.testing.assert_array_equal(scores, more_scores[:, :k])


@settings(max_examples=60, deadline=None)
@given(case=cases(), level=levels, k=st.integers(1, 30))
def test_a_batch_is_its_queries_one_by_one(
    case: tuple[oracle.Floats, oracle.Queries], level: str, k: int
) -> None:
    vectors, queries = case
    catalogue = Catalogue(vectors, simd_level=level)
    singles = [queries.only(query).search(catalogue, k) for query in range(len(queries.user))]
    oracle.assert_same_results(
        queries.search(catalogue, k), [(rows[0], scores[0]) for rows, scores in singles]
    )


@settings(max_examples=60, deadline=None)
@given(case=cases(), level=levels, seed=st.integers(0, 2**32), k=st.integers(1, 30))
def test_excluding_what_was_found_brings_up_what_follows(
    case: tuple[oracle.Floats, oracle.Queries], level: str, seed: int, k: int
) -> None:
    vectors, queries = case
    catalogue = Catalogue(vectors, simd_level=level)
    all_rows, all_scores = queries.search(catalogue, len(vectors))
    n_queries, n_gone = len(queries.user), min(k, len(vectors))
    gone = np.random.default_rng(seed).permuted(all_rows[:, :n_gone], axis=1)
    got = queries.search(
        catalogue,
        len(vectors),
        excluded_offsets=np.arange(n_queries + 1) * n_gone,
        excluded_rows=np.ascontiguousarray(gone).ravel(),
    )
    expected = [
        (
            np.append(all_rows[query, n_gone:], np.full(n_gone, -1)),
            np.append(all_scores[query, n_gone:], np.full(n_gone, -np.inf, np.float32)),
        )
        for query in range(n_queries)
    ]
    oracle.assert_same_results(got, expected)


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_a_penalty_never_raises_a_score(case: tuple[oracle.Floats, oracle.Queries]) -> None:
    vectors, queries = case
    catalogue = Catalogue(vectors)
    penalised = queries.reference(catalogue)
    is_away = [role == "away" for role in queries.rule.roles]
    queries.gates[:, is_away] = 0
    assert (penalised <= queries.reference(catalogue)).all()
