# Catalogue.search against the oracle, bit for bit, whatever is combined; and the arguments it takes and refuses.

from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue_model import EXPRESSIONS, Model, random_tags, random_vectors
from core import oracle
from dpr_infer import Catalogue, QueryError, QueryTypeError, SearchCounters, WhereError
from dpr_infer._core import supported_simd_levels


@pytest.mark.parametrize("module", ["catalogue", "tag_book"])
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f"dpr_infer.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def random_options(rng: np.random.Generator, n_queries: int, dim: int, n_items: int) -> dict[str, Any]:
    """Return a random choice of the options of a search, all of them given for each query."""

    def rows() -> list[int]:
        return rng.integers(0, n_items, rng.integers(0, 2 * n_items)).tolist()

    options: dict[str, Any] = {}
    if rng.random() < 0.5:
        n_away = int(rng.integers(0, 4))
        options["away"] = random_vectors(rng, n_queries * n_away, dim).reshape(n_queries, n_away, dim)
        options["phi"] = str(rng.choice(["relu", "softplus"]))
        options["gain"] = float(rng.choice([1.0, 3.0]))
        if rng.random() < 0.7:
            gates = np.abs(rng.normal(size=(n_queries, n_away))) * (rng.random((n_queries, n_away)) < 0.7)
            options["gates"] = gates.astype(np.float32)
        if rng.random() < 0.7:
            options["biases"] = rng.normal(size=n_away).astype(np.float32).tolist()
    if rng.random() < 0.5:
        options["where"] = [list(EXPRESSIONS)[i] for i in rng.integers(0, len(EXPRESSIONS), n_queries)]
    if rng.random() < 0.5:
        options["exclude"] = [rows() for _ in range(n_queries)]
    if rng.random() < 0.3:
        options["allow"] = [rows() for _ in range(n_queries)]
    return options


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_items=st.integers(1, 400),
    widths=st.lists(st.integers(1, 20), min_size=1, max_size=2),
    n_queries=st.integers(1, 5),
    k=st.integers(1, 40),
    level=st.sampled_from(supported_simd_levels()),
    threads=st.integers(1, 2),
)
def test_answers_are_those_of_the_oracle(seed, n_items, widths, n_queries, k, level, threads):
    rng = np.random.default_rng(seed)
    dim = sum(widths)
    vectors, tags = random_vectors(rng, n_items, dim), random_tags(rng, n_items)
    catalogue = Catalogue(
        vectors, [["war", "comedy", "film noir"], *tags[1:]], parts=widths, simd_level=level
    )
    model = Model(vectors, [frozenset(("war", "comedy", "film noir")), *tags[1:]])
    queries = random_vectors(rng, n_queries, dim)
    options = random_options(rng, n_queries, dim, n_items)
    got = catalogue.search(queries, k, threads=threads, **options)
    oracle.assert_same_results(got, model.search(queries, k, **options))


@pytest.fixture(scope="module")
def model() -> Model:
    rng = np.random.default_rng(0)
    return Model(
        random_vectors(rng, 200, 6), [frozenset(("war", "comedy", "film noir")), *random_tags(rng, 199)]
    )


@pytest.fixture(scope="module")
def catalogue(model: Model) -> Catalogue:
    return Catalogue(model.vectors, model.tags)


@pytest.fixture
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)


def test_one_query_has_no_batch_axis(catalogue, queries):
    away = np.random.default_rng(2).normal(size=(3, 2, 6)).astype(np.float32)
    gates = np.array([[1, 0], [0.5, 2], [0, 0]], np.float32)
    options = {
        "phi": "softplus",
        "biases": [0.5, -1],
        "where": "!war",
        "exclude": [1, 2],
        "allow": range(150),
    }
    rows, scores = catalogue.search(queries, 4, away=away, gates=gates, **options)
    assert rows.shape == scores.shape == (3, 4)
    for b in range(3):
        one_rows, one_scores = catalogue.search(queries[b], 4, away=away[b], gates=gates[b], **options)
        np.testing.assert_array_equal(one_rows, rows[b])
        np.testing.assert_array_equal(one_scores, scores[b])


def test_one_option_stands_for_all_queries(catalogue, model, queries):
    got = catalogue.search(queries, 5, where="war", exclude=[3, 5, 5], allow=np.arange(100, dtype=np.uint8))
    expected = model.search(queries, 5, where=["war"] * 3, exclude=[[3, 5]] * 3, allow=[range(100)] * 3)
    oracle.assert_same_results(got, expected)


@pytest.mark.parametrize(
    "given",
    [
        lambda q: q.astype(np.float64),
        lambda q: q.tolist(),
        lambda q: np.asfortranarray(q),
        lambda q: np.concatenate([q, q], axis=1)[:, :6],
        lambda q: q.astype(">f4"),
        lambda q: np.frombuffer(b"\0" + q.tobytes(), "<f4", offset=1).reshape(q.shape),
    ],
)
def test_queries_of_another_kind_are_converted(catalogue, queries, given):
    expected = catalogue.search(queries)
    for got, wanted in zip(catalogue.search(given(queries)), expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_integers_are_numbers():
    vectors = [[1, 2], [3, 4]]
    rows, scores = Catalogue(vectors).search([[1, 1], [-1, 0]], np.int64(2))
    assert rows.tolist() == [[1, 0], [0, 1]]
    assert scores.tolist() == [[7, 3], [-1, -3]]


@pytest.mark.parametrize(
    ("rows", "meaning"),
    [
        ([], []),
        ((), []),
        (np.array([]), []),
        (7, [7]),
        ([np.int16(7), 8], [7, 8]),
        (np.array([7, 8], np.uint64), [7, 8]),
        ({7, 8}, [7, 8]),
        (range(7, 9), [7, 8]),
    ],
)
def test_rows_in_any_form(catalogue, model, queries, rows, meaning):
    got = catalogue.search(queries, 200, exclude=rows)
    oracle.assert_same_results(got, model.search(queries, 200, exclude=[meaning] * 3))
    got = catalogue.search(queries, 3, allow=rows)
    oracle.assert_same_results(got, model.search(queries, 3, allow=[meaning] * 3))


@pytest.mark.parametrize(
    "lists",
    [
        [[], [1], [2, 3]],
        [[1, 2], [2, 3], [4, 5]],
        np.array([[1, 2], [2, 3], [4, 5]], np.int32),
        [np.array([], np.int64), (1, 2), {9}],
        [[], [], []],
        np.zeros((3, 0)),
    ],
)
def test_one_list_a_query_in_any_form(catalogue, model, queries, lists):
    meaning = [list(entry) for entry in lists]
    got = catalogue.search(queries, 200, exclude=lists)
    oracle.assert_same_results(got, model.search(queries, 200, exclude=meaning))


def test_counters_count(catalogue, queries):
    counters = SearchCounters()
    catalogue.search(queries, 5, counters=counters)
    assert counters.n_pairs >= counters.n_pairs_scanned > 0
    first = counters.n_rescored
    assert first >= 15
    catalogue.search(queries, 5, counters=counters)
    assert counters.n_rescored == 2 * first


def test_what_a_catalogue_says_of_itself():
    catalogue = Catalogue(
        np.eye(6), [["b"], ["a", "b"], {"d", "c"}, [], [], []], parts=[4, 2], simd_level="scalar"
    )
    assert (catalogue.n_items, catalogue.n_rows, catalogue.n_pending, len(catalogue)) == (6, 6, 0, 6)
    assert (catalogue.dim, catalogue.parts, catalogue.simd_level) == (6, (4, 2), "scalar")
    assert catalogue.tags == ("b", "a", "c", "d")
    assert "6 items, 6 dimensions, 4 tags" in repr(catalogue)
    assert Catalogue(np.eye(2)).tags is None
    assert Catalogue(np.eye(2), [[], []]).tags == ()


def test_what_the_caller_does_to_the_vectors_later_changes_nothing():
    vectors = np.eye(4, dtype=np.float32)
    catalogue = Catalogue(vectors)
    vectors[:] = 9
    assert catalogue.search([1, 0, 0, 0], 1)[1].tolist() == [1]
    assert catalogue.add(vectors[:1]).tolist() == [4]
    vectors[:] = 99
    assert catalogue.search([1, 0, 0, 0], 1)[1].tolist() == [9]


def test_more_than_64_tags():
    names = [f"tag {i}" for i in range(130)]
    catalogue = Catalogue(np.ones((130, 2)), [[name] for name in names])
    for i in (0, 63, 64, 127, 128, 129):
        assert catalogue.search([1, 1], 2, where=f'"tag {i}"')[0].tolist() == [i, -1]
    with pytest.raises(QueryError, match=r"at most 4096 different names; item 4096 has one more"):
        Catalogue(np.ones((4097, 1)), [[str(i)] for i in range(4097)])


@pytest.mark.parametrize(
    ("vectors", "tags", "options", "message"),
    [
        (np.ones(3), None, {}, r"vectors must have the shape \(any, any\); got \(3,\)"),
        (np.ones((0, 3)), None, {}, "catalogue cannot be built.*at least one"),
        (np.ones((3, 0)), None, {}, "catalogue cannot be built.*at least one"),
        ([[1.0, np.nan]], None, {}, "finite"),
        ([[1e300, 0]], None, {}, "vectors must hold numbers that float32 can hold"),
        ([["a"]], None, {}, "vectors must be an array of numbers; got dtype <U1"),
        ([[True]], None, {}, "vectors must be an array of numbers; got dtype bool"),
        ([[1j]], None, {}, "vectors must be an array of numbers; got dtype complex"),
        ([[1], [2, 3]], None, {}, "vectors must be an array of numbers; got list"),
        (None, None, {}, "vectors must be an array of numbers"),
        (np.eye(3), [["a"]], {}, "one collection of names an item, 3; got 1"),
        (np.eye(2), ["ab", "c"], {}, "tags of item 0 must be a collection of str; got str 'ab'"),
        (np.eye(2), [["a"], None], {}, "tags of item 1 must be a collection of str; got NoneType"),
        (np.eye(2), [["a"], [3]], {}, "tags of item 1 must be a collection of str; it holds int"),
        (np.eye(2), "ab", {}, "tags must be a sequence of collections of str"),
        (np.eye(2), 3, {}, "tags must be a sequence of collections of str"),
        (np.eye(2), [["a"], [""]], {}, "must have 1 to 255 characters; '' has 0"),
        (np.eye(2), [["a"], ["x" * 256]], {}, "must have 1 to 255 characters; 'xxx.* has 256"),
        (np.eye(2), None, {"parts": [1, 2]}, "parts must be one or two widths with the sum 2"),
        (np.eye(3), None, {"parts": [1, 1, 1]}, "parts must be one or two widths"),
        (np.eye(2), None, {"parts": []}, "parts must be one or two widths"),
        (np.eye(2), None, {"parts": [2.0]}, "each of parts must be an int >= 1; got 2.0"),
        (np.eye(2), None, {"parts": 2}, "parts must be a sequence"),
        (np.eye(2), None, {"threads": 0}, "threads must be an int >= 1; got 0"),
        (np.eye(2), None, {"simd_level": "sse"}, "sse"),
    ],
)
def test_catalogues_that_cannot_be_built(vectors, tags, options, message):
    with pytest.raises(QueryError, match=message):
        Catalogue(vectors, tags, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": np.ones((3, 5))}, r"queries must have the shape \(B, 6\) or \(6,\); got \(3, 5\)"),
        ({"queries": np.ones(7)}, r"queries must have the shape \(B, 6\) or \(6,\); got \(7,\)"),
        ({"queries": np.ones((1, 3, 6))}, "queries must have the shape"),
        ({"queries": np.ones((3, 6), bool)}, "queries must be an array of numbers; got dtype bool"),
        ({"queries": np.full((3, 6), np.inf, np.float32)}, "finite"),
        ({"queries": np.full((3, 6), 1e300)}, "queries must hold numbers that float32 can hold"),
        ({"queries": np.full((3, 6), 3e38)}, "cannot be answered"),
        ({"k": 0}, "k: expected"),
        ({"k": True}, "k must be an int >= 1; got True"),
        ({"k": 2.0}, "k must be an int >= 1; got 2.0"),
        ({"k": 2**40}, "k: expected"),
        ({"away": np.ones((2, 1, 6))}, r"away must have the shape \(3, any, 6\); got \(2, 1, 6\)"),
        ({"away": np.ones((3, 6))}, "away must have the shape"),
        ({"gates": np.ones((3, 1))}, "must come with away"),
        ({"biases": [1]}, "must come with away"),
        ({"away": np.ones((3, 2, 6)), "gates": np.ones((3, 1))}, r"gates must have the shape \(3, 2\)"),
        ({"away": np.ones((3, 1, 6)), "gates": -np.ones((3, 1))}, "gates"),
        ({"away": np.ones((3, 1, 6)), "biases": [1, 2]}, r"biases must have the shape \(1,\)"),
        ({"away": np.ones((3, 1, 6)), "biases": [np.nan]}, "biases"),
        ({"away": np.ones((3, 1, 6)), "phi": "gelu"}, "phi"),
        ({"away": np.ones((3, 1, 6)), "phi": 3}, "phi must be .relu. or .softplus.; got 3"),
        ({"away": np.ones((3, 1, 6)), "gain": 0}, "gain"),
        ({"away": np.ones((3, 1, 6)), "gain": "1"}, "gain must be a number; got '1'"),
        ({"where": 3}, "where must be a str, None or a sequence of them"),
        ({"where": ["war"]}, "where must have one expression a query, 3; got 1"),
        ({"where": ["war", None, 3]}, r"where\[2\] must be a str or None; got int"),
        ({"exclude": [200]}, "exclude must hold rows from 0 to 199; got 200"),
        ({"exclude": [-1]}, "exclude must hold rows from 0 to 199; got -1"),
        ({"exclude": [2**70]}, "exclude must hold rows, integers; got dtype object"),
        ({"exclude": [True]}, "exclude must hold rows, integers; got dtype bool"),
        ({"exclude": [1.0]}, "exclude must hold rows, integers; got dtype float64"),
        ({"exclude": ["1"]}, "exclude must hold rows, integers; got dtype <U1"),
        ({"exclude": "1"}, "exclude must hold rows, integers"),
        ({"exclude": [[1], [2]]}, "exclude must be one list of rows, or one a query, 3; got 2 lists"),
        ({"exclude": [[1], [2], [[3]]]}, r"exclude\[2\] must have one dimension"),
        ({"exclude": [[1], None, [3]]}, r"exclude\[1\] must hold rows"),
        ({"exclude": [1, [2], [3]]}, "exclude must hold rows"),
        ({"allow": [200]}, "allow must hold rows from 0 to 199; got 200"),
        ({"allow": [[1], [0.5], [3]]}, r"allow\[1\] must hold rows, integers; got dtype float64"),
        ({"threads": 0}, "threads must be an int >= 1; got 0"),
        ({"counters": 3}, "counters must be a dpr_infer.SearchCounters; got int"),
    ],
)
def test_wrong_arguments(catalogue, queries, options, message):
    with pytest.raises(QueryError, match=message):
        catalogue.search(**({"queries": queries} | options))


def test_wrong_types_are_type_errors(catalogue, queries):
    for options in ({"exclude": [1.0]}, {"where": 3}, {"counters": 3}):
        with pytest.raises(QueryTypeError):
            catalogue.search(queries, **options)


def test_wrong_expressions(catalogue, queries):
    with pytest.raises(WhereError, match=r"'wr' is none .there is 'war'"):
        catalogue.search(queries, where="wr")
    with pytest.raises(WhereError, match="where needs a catalogue with tags; this one has none"):
        Catalogue(np.eye(2)).search([1, 1], where="war")
    assert Catalogue(np.eye(2)).search([1, 1], 1, where=" ")[0].tolist() == [0]


def test_vectors_wider_than_an_index_takes_are_refused() -> None:
    with pytest.raises(QueryError, match="at most 32768 dimensions in an index, got 32769"):
        Catalogue(np.ones((1, 32769), dtype=np.float32))
