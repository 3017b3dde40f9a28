# Hostile arguments of every binding: an error that names what, expected and got, never a crash.
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dpr_infer._core import Catalogue, ScoreRule, SearchCounters, TagFilter, build_index

B, E, D, N = 3, 2, 5, 7
NAN, INF = np.float32("nan"), np.float32("inf")


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def words(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint64)


def rule() -> ScoreRule:
    return ScoreRule(roles=["toward", "away"], biases=[0.0, -0.5], phi="relu")


def make_filter(**changes: Any) -> TagFilter:
    arguments = {
        "all": words(B, 1),
        "none": words(B, 1),
        "clause_offsets": np.zeros(B + 1, np.int64),
        "clause_with": words(0, 1),
        "clause_without": words(0, 1),
    }
    return TagFilter(**(arguments | changes))


def arguments(**changes: Any) -> dict[str, Any]:
    usual = {
        "user": floats(B, D),
        "experts": floats(B, E, D),
        "gates": floats(B, E),
        "rule": rule(),
        "strength": floats(B),
    }
    return usual | changes


def search(**changes: Any) -> Any:
    return Catalogue(floats(N, D), words(N, 1)).search(**({"k": 2} | arguments(**changes)))


def reference(**changes: Any) -> Any:
    return Catalogue(floats(N, D)).reference_scores(**arguments(**changes))


def put(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    array[index] = value
    return array


WRONG_QUERIES = [
    ({"user": np.ones((B, D))}, TypeError, "user: expected dtype float32, got float64"),
    ({"user": floats(B, D).astype(">f4")}, TypeError, "user: expected dtype float32, got >f4"),
    ({"user": [[1.0] * D] * B}, TypeError, "user: expected a numpy.ndarray of float32, got list"),
    ({"user": None}, TypeError, "user: expected a numpy.ndarray of float32, got NoneType"),
    ({"user": floats(D)}, ValueError, "user: expected rank 2, got rank 1"),
    ({"user": floats(B, D + 1)}, ValueError, r"user: expected at most 5 columns.* got shape \(3, 6\)"),
    ({"user": np.asfortranarray(floats(B, D))}, ValueError, "user: expected a C-contiguous array"),
    ({"user": floats(B, 2 * D)[:, ::2]}, ValueError, "user: expected a C-contiguous array"),
    ({"user": put(floats(B, D), (2, 4), NAN)}, ValueError, "query 2: user, element 4: expected a finite"),
    ({"experts": floats(B, E, D).astype(np.float16)}, TypeError, "experts: expected dtype float32"),
    ({"experts": floats(B, E, D - 1)}, ValueError, r"experts: expected shape \(3, 2, 5\), got \(3, 2, 4\)"),
    ({"experts": floats(B, E + 1, D)}, ValueError, r"experts: expected shape"),
    ({"experts": floats(B - 1, E, D)}, ValueError, r"experts: expected shape"),
    ({"experts": floats(B, E * D)}, ValueError, "experts: expected rank 3, got rank 2"),
    (
        {"experts": put(floats(B, E, D), (1, 1, 0), INF)},
        ValueError,
        "query 1: experts, element 5: .* got inf",
    ),
    ({"gates": floats(B, E).astype(int)}, TypeError, "gates: expected dtype float32, got int64"),
    ({"gates": floats(B, E + 1)}, ValueError, "gates: expected shape"),
    (
        {"gates": put(floats(B, E), (1, 0), -1e-9)},
        ValueError,
        "query 1: gates, element 0: expected a number >= 0",
    ),
    ({"gates": put(floats(B, E), (2, 1), NAN)}, ValueError, "query 2: gates, element 1: expected a finite"),
    ({"strength": 1.0}, TypeError, "strength: expected a numpy.ndarray of float32, got float"),
    ({"strength": floats(B + 1)}, ValueError, r"strength: expected shape \(3,\), got \(4,\)"),
    (
        {"strength": put(floats(B), (1,), -1)},
        ValueError,
        "query 1: strength, element 0: expected a number >= 0",
    ),
    ({"strength": put(floats(B), (0,), -INF)}, ValueError, "query 0: strength, element 0: expected a finite"),
    ({"rule": None}, TypeError, "incompatible function arguments"),
    ({"rule": "relu"}, TypeError, "incompatible function arguments"),
]


@pytest.mark.parametrize("call", [search, reference])
@pytest.mark.parametrize(("changes", "error", "message"), WRONG_QUERIES)
def test_queries(
    call: Callable[..., Any], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(**changes)


def excluding(offsets: Any, rows: Any) -> dict[str, Any]:
    return {"excluded_offsets": offsets, "excluded_rows": rows}


def allowing(offsets: Any, rows: Any) -> dict[str, Any]:
    return {"allowed_offsets": offsets, "allowed_rows": rows}


OFFSETS, ROWS = np.array([0, 1, 1, 2]), np.array([0, 6])
TWO_WORDS = make_filter(
    all=words(B, 2), none=words(B, 2), clause_with=words(0, 2), clause_without=words(0, 2)
)
TWO_QUERIES = make_filter(all=words(2, 1), none=words(2, 1), clause_offsets=np.zeros(3, np.int64))

WRONG_SEARCHES = [
    ({"k": 0}, ValueError, r"k: expected a number in \[1, 2147483647\], got 0"),
    ({"k": -1}, ValueError, "k: expected"),
    ({"k": 2**31}, ValueError, "k: expected"),
    ({"k": 2**31 - 1}, ValueError, "k: expected at most 268435456 results .* got 3 queries"),
    ({"k": 2**64}, TypeError, "incompatible function arguments"),
    ({"k": 2.0}, TypeError, "incompatible function arguments"),
    ({"k": "2"}, TypeError, "incompatible function arguments"),
    ({"k": None}, TypeError, "incompatible function arguments"),
    (excluding(OFFSETS, None), ValueError, "expected both or neither"),
    (excluding(None, ROWS), ValueError, "expected both or neither"),
    (excluding(OFFSETS.astype(np.int32), ROWS), TypeError, "excluded_offsets: expected dtype int64"),
    (excluding(OFFSETS, ROWS.astype(np.uint64)), TypeError, "excluded_rows: expected dtype int64"),
    (excluding(OFFSETS[:-1], ROWS), ValueError, r"excluded_offsets: expected shape \(4,\), got \(3,\)"),
    (excluding(OFFSETS, ROWS[None]), ValueError, "excluded_rows: expected rank 1, got rank 2"),
    (excluding(np.array([1, 1, 1, 2]), ROWS), ValueError, r"excluded_offsets\[0\]: expected 0, got 1"),
    (excluding(np.array([0, 2, 1, 2]), ROWS), ValueError, "query 1: excluded_offsets: .* got 2 then 1"),
    (excluding(np.array([0, -1, 1, 2]), ROWS), ValueError, "query 0: excluded_offsets"),
    (excluding(np.array([0, 0, 0, 2**62]), ROWS), ValueError, "number of entries, 2, got 46116"),
    (excluding(np.array([0, 0, 0, 1]), ROWS), ValueError, "number of entries, 2, got 1"),
    (excluding(OFFSETS, np.array([0, N])), ValueError, r"query 2: excluded_rows: .* \[0, 7\), got 7"),
    (excluding(OFFSETS, np.array([-1, 0])), ValueError, "query 0: excluded_rows: .* got -1"),
    (allowing(OFFSETS, None), ValueError, "allowed_offsets and allowed_rows: expected both or neither"),
    (allowing(None, ROWS), ValueError, "allowed_offsets and allowed_rows: expected both or neither"),
    (allowing(OFFSETS.astype(np.int32), ROWS), TypeError, "allowed_offsets: expected dtype int64"),
    (allowing(OFFSETS, ROWS.astype(float)), TypeError, "allowed_rows: expected dtype int64, got float64"),
    (allowing(OFFSETS[:-1], ROWS), ValueError, r"allowed_offsets: expected shape \(4,\), got \(3,\)"),
    (allowing(np.array([0, 2, 1, 2]), ROWS), ValueError, "query 1: allowed_offsets: .* got 2 then 1"),
    (allowing(np.array([0, 0, 0, 1]), ROWS), ValueError, "allowed_offsets: .*number of entries, 2, got 1"),
    (allowing(OFFSETS, np.array([0, N])), ValueError, r"query 2: allowed_rows: .* \[0, 7\), got 7"),
    (allowing(OFFSETS, np.array([-1, 0])), ValueError, "query 0: allowed_rows: .* got -1"),
    ({"threads": 0}, ValueError, "threads: expected a number >= 1, got 0"),
    ({"threads": -1}, TypeError, "incompatible function arguments"),
    ({"threads": 1.5}, TypeError, "incompatible function arguments"),
    ({"counters": 1}, TypeError, "incompatible function arguments"),
    ({"tag_filter": "Action"}, TypeError, "incompatible function arguments"),
    ({"tag_filter": TWO_WORDS}, ValueError, "got 3 queries of 2 words"),
    ({"tag_filter": TWO_QUERIES}, ValueError, "expected one for 3 queries of 1 tag words, got 2 queries"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_SEARCHES)
def test_search(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(**changes)


@pytest.mark.parametrize("limits", [excluding, allowing])
def test_a_single_query_needs_no_offsets(limits: Callable[..., dict[str, Any]]) -> None:
    one = {"user": floats(1, D), "experts": floats(1, E, D), "gates": floats(1, E), "strength": floats(1)}
    for rows in (np.array([4, 0, 4]), np.array([], np.int64)):
        alone, usual = (
            search(k=N, **one, **limits(offsets, rows)) for offsets in (None, np.array([0, len(rows)]))
        )
        np.testing.assert_array_equal(alone[0], usual[0])
    with pytest.raises(ValueError, match=r"expected rows in \[0, 7\), got 7"):
        search(**one, **limits(None, np.array([N])))


def test_a_tag_filter_needs_tags() -> None:
    with pytest.raises(ValueError, match="expected a catalogue with tag_bits"):
        Catalogue(floats(N, D)).search(**arguments(k=1, tag_filter=make_filter()))


def test_numpy_integers_are_fine_as_k() -> None:
    assert search(k=np.int64(3))[0].shape == (B, 3)


def test_more_threads_than_there_can_be_are_as_many_as_there_can_be() -> None:
    assert search(threads=2**40)[0].shape == (B, 2)


def test_what_fails_leaves_the_counters_alone() -> None:
    counters = SearchCounters()
    with pytest.raises(ValueError, match="query 0: user"):
        search(user=put(floats(B, D), (0, 0), NAN), counters=counters)
    assert counters.n_rescored == 0


def misaligned() -> np.ndarray:
    return np.frombuffer(bytes(4 * N * D + 1), np.uint8)[1:].view(np.float32).reshape(N, D)


WRONG_CATALOGUES = [
    ((np.ones((N, D)),), TypeError, "vectors: expected dtype float32, got float64"),
    (([[1.0]],), TypeError, "vectors: expected a numpy.ndarray of float32, got list"),
    ((floats(D),), ValueError, "vectors: expected rank 2, got rank 1"),
    ((floats(0, D),), ValueError, r"vectors: expected at least one item .* got shape \(0, 5\)"),
    ((floats(N, 0),), ValueError, "vectors: expected at least one item"),
    ((floats(D, N).T,), ValueError, "vectors: expected a C-contiguous array"),
    ((misaligned(),), ValueError, "aligned"),
    (
        (put(floats(N, D), (4, 3), NAN),),
        ValueError,
        "vectors, row 4, column 3: expected a finite number, got nan",
    ),
    ((put(floats(3000, D), (2999, 4), -INF),), ValueError, "vectors, row 2999, column 4: .* got -inf"),
    ((floats(N, D), words(N, 1).astype(np.int64)), TypeError, "tag_bits: expected dtype uint64, got int64"),
    ((floats(N, D), words(N)), ValueError, "tag_bits: expected rank 2, got rank 1"),
    (
        (floats(N, D), words(N - 1, 1)),
        ValueError,
        r"tag_bits: expected shape \(7, W\) with W >= 1, got \(6, 1\)",
    ),
    ((floats(N, D), words(N, 0)), ValueError, "tag_bits: expected shape"),
]


@pytest.mark.parametrize(("positional", "error", "message"), WRONG_CATALOGUES)
def test_catalogue(positional: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Catalogue(*positional)


INDEX = build_index(floats(N, D), parts=[3, 2])

WRONG_KEYWORDS = [
    ({"row_ids": np.arange(N - 1)}, ValueError, r"row_ids: expected shape \(7,\), got \(6,\)"),
    ({"row_ids": np.arange(N, dtype=np.uint64)}, TypeError, "row_ids: expected dtype int64, got uint64"),
    (
        {"row_ids": np.arange(N) - 1},
        ValueError,
        r"row_ids\[0\]: expected rows in \[0, 2\^34\) that rise, got -1",
    ),
    (
        {"row_ids": np.arange(N)[::-1].copy()},
        ValueError,
        r"row_ids\[1\]: expected rows in \[0, 2\^34\) that rise, got 5",
    ),
    (
        {"row_ids": np.array([0, 1, 2, 2, 3, 4, 5])},
        ValueError,
        r"row_ids\[3\]: expected rows in \[0, 2\^34\) that rise",
    ),
    ({"n_rows": N - 1}, ValueError, r"n_rows: expected a number in \[7, .*\], got 6"),
    ({"n_rows": -1}, ValueError, r"n_rows: expected a number in \[7, .*\], got -1"),
    ({"n_rows": 2**62}, ValueError, r"n_rows: expected a number in \[7, .*\], got 4611686018427387904"),
    ({"n_rows": N, "row_ids": np.arange(1, N + 1)}, ValueError, r"n_rows: expected a number in \[8, "),
    ({"parts": [3, 3]}, ValueError, r"parts: expected one or two widths >= 1 that sum to 5, got \[3, 3\]"),
    ({"index": INDEX}, ValueError, "index: "),  # whose parts are not those of the default
    ({"index": list(INDEX.values())}, TypeError, "incompatible constructor arguments"),
    ({"index": {}}, ValueError, "index: expected the arrays codes, rows, cluster, bounds, centres; missing"),
    ({"simd_level": "mmx"}, ValueError, "simd_level: expected a level that this machine supports"),
]


@pytest.mark.parametrize(("keywords", "error", "message"), WRONG_KEYWORDS)
def test_catalogue_keywords(keywords: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Catalogue(floats(N, D), **keywords)


# Numbers of rows that do not fit a computer's memory are refused before it is asked for.
@pytest.mark.parametrize("row", [2**63 - 1, 2**62, 2**41])
def test_rows_beyond_all_reason(row: int) -> None:
    with pytest.raises(ValueError, match=r"row_ids\[0\]|n_rows"):
        Catalogue(floats(1, D), row_ids=np.array([row]))


def test_catalogue_properties() -> None:
    catalogue = Catalogue(floats(N, D), words(N, 2), simd_level="scalar")
    assert (catalogue.n_items, catalogue.dim, catalogue.n_tag_words, catalogue.simd_level) == (
        N,
        D,
        2,
        "scalar",
    )
    assert Catalogue(floats(N, D)).n_tag_words == 0
    indexed = Catalogue(floats(N, D), index=INDEX, parts=[3, 2])
    assert (indexed.parts, indexed.n_rows, indexed.n_pending) == ([3, 2], N, 0)


WRONG_FILTERS = [
    ({"all": words(B, 1).astype(np.int64)}, TypeError, "all: expected dtype uint64, got int64"),
    ({"all": words(B, 0), "none": words(B, 0)}, ValueError, "all: expected at least one tag word"),
    ({"none": words(B, 2)}, ValueError, r"none: expected shape \(3, 1\), got \(3, 2\)"),
    ({"none": words(B + 1, 1)}, ValueError, "none: expected shape"),
    ({"clause_offsets": np.zeros(B + 1)}, TypeError, "clause_offsets: expected dtype int64, got float64"),
    ({"clause_offsets": np.zeros(B, np.int64)}, ValueError, "clause_offsets: expected shape"),
    ({"clause_offsets": np.array([0, 0, 0, 1])}, ValueError, "number of entries, 0, got 1"),
    ({"clause_offsets": np.array([0, 1, 0, 0])}, ValueError, "query 1: clause_offsets: .* got 1 then 0"),
    ({"clause_with": words(1, 1)}, ValueError, r"clause_without: expected shape \(1, 1\), got \(0, 1\)"),
    ({"clause_with": words(0, 2)}, ValueError, "clause_with: expected shape"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_FILTERS)
def test_tag_filter(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_filter(**changes)


WRONG_RULES = [
    ({"roles": ["toward"]}, ValueError, "biases: expected one for each of the 1 roles, got 2"),
    ({"roles": ["toward", "Away"]}, ValueError, r"roles\[1\]: expected 'toward' or 'away', got 'Away'"),
    ({"roles": "ab"}, TypeError, "incompatible constructor arguments"),
    (
        {"biases": [0.5, 0.0]},
        ValueError,
        r"biases\[0\]: expected 0 for an expert with role 'toward', got 0.5",
    ),
    ({"biases": [0.0, float("nan")]}, ValueError, r"biases\[1\]: expected a finite float32, got nan"),
    ({"biases": [0.0, 1e39]}, (ValueError, TypeError), "biases|incompatible"),
    ({"phi": "gelu"}, ValueError, "phi: expected 'relu' or 'softplus', got 'gelu'"),
    ({"gain": 0.0}, ValueError, "gain: expected a finite float32 of at least 1e-30"),
    ({"gain": -1.0}, ValueError, "gain: expected"),
    ({"gain": float("inf")}, ValueError, "gain: expected"),
    ({"gain": float("nan")}, ValueError, "gain: expected"),
    ({"gain": "1"}, TypeError, "incompatible constructor arguments"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_RULES)
def test_score_rule(changes: dict[str, Any], error: Any, message: str) -> None:
    usual: dict[str, Any] = {"roles": ["toward", "away"], "biases": [0.0, -0.5], "phi": "relu", "gain": 2.0}
    with pytest.raises(error, match=message):
        ScoreRule(**(usual | changes))


def test_score_rule_properties() -> None:
    made = ScoreRule(roles=("away", "toward"), biases=(0.1, 0), phi="softplus", gain=0.3)
    assert made.n_experts == 2
    assert made.roles == ["away", "toward"]
    assert made.biases == [float(np.float32(0.1)), 0.0]
    assert made.phi == "softplus"
    assert made.gain == float(np.float32(0.3))
