# Arrays that are no index are refused with a message that names what is wrong; a bound that does not hold is found
# by check_index, and would indeed make an answer wrong.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, build_index, supported_simd_levels

PARTS, N = [10, 6], 9000
Index = dict[str, np.ndarray]
SCALE, CODE_ERROR, CODE_NORM, NORM, ALONG_MIN, ALONG_MAX, ACROSS = range(7)


@pytest.fixture(scope="module")
def vectors() -> oracle.Floats:
    return item_vectors.clustered(np.random.default_rng(0), N, sum(PARTS))


@pytest.fixture(scope="module")
def built(vectors: oracle.Floats) -> Index:
    index = build_index(vectors, parts=PARTS)
    for array in index.values():
        array.flags.writeable = False
    return index


def copied(index: Index) -> Index:
    return {name: array.copy() for name, array in index.items()}


def test_what_was_built_is_accepted_and_holds(vectors: oracle.Floats, built: Index) -> None:
    catalogue = Catalogue(vectors, index=built, parts=PARTS)
    catalogue.check_index()
    assert catalogue.parts == PARTS
    n_blocks, n_clusters = len(built["cluster"]), len(built["centres"])
    assert n_clusters > 1
    assert {name: (array.dtype, array.shape) for name, array in built.items()} == {
        "codes": (np.uint8, (n_blocks, 3 + 2, 64, 4)),
        "rows": (np.uint32, (n_blocks, 64)),
        "cluster": (np.uint32, (n_blocks,)),
        "bounds": (np.float32, (2, 7, n_blocks)),
        "centres": (np.float32, (n_clusters, 16)),
    }


def put(name: str, place: Any, value: Any) -> Callable[[Index], None]:
    def change(index: Index) -> None:
        index[name][place] = value

    return change


def replace(name: str, make: Callable[[np.ndarray], Any]) -> Callable[[Index], None]:
    def change(index: Index) -> None:
        index[name] = make(index[name])

    return change


def repeat_a_row(index: Index) -> None:
    index["rows"][3, 4] = index["rows"][5, 6]


def leave_a_gap(index: Index) -> None:
    index["rows"][2, 10] = 0xFFFFFFFF


def lose_an_item(index: Index) -> None:
    index["rows"][0, 63] = 0xFFFFFFFF


def empty_a_block(index: Index) -> None:
    index["rows"][1] = 0xFFFFFFFF


WRONG_VALUES = [
    (repeat_a_row, "index: rows of block .: expected each item of 9000 once, no gaps, got"),
    (leave_a_gap, "index: rows of block 2: expected each item .*no gaps, got .* in slot 11"),
    (lose_an_item, "index: rows: expected all 9000 items, got 8999 of them"),
    (empty_a_block, "index: rows of block 1: expected at least one item, got none"),
    (
        put("rows", (0, 0), N),
        "index: rows of block 0: expected each item of 9000 once, no gaps, got 9000 in slot 0",
    ),
    (put("rows", (7, 1), 2**32 - 2), "index: rows of block 7: .* got 4294967294 in slot 1"),
    (put("cluster", 0, 1), "index: cluster of block 1: expected a number below .* that never falls, got 0"),
    (put("cluster", -1, 2**32 - 1), "index: cluster of block .*: expected a number below .*, got 4294967295"),
    (put("bounds", (0, SCALE, 3), np.nan), "index: scale of block 3: expected a finite number >= 0, got nan"),
    (put("bounds", (1, SCALE, 3), 0), r"index: scale of block 3: expected at least 2\^-60, got 0"),
    (put("bounds", (1, SCALE, 3), 2.0**-61), r"index: scale of block 3: expected at least 2\^-60"),
    (
        put("bounds", (0, CODE_ERROR, 0), np.inf),
        "index: code_error of block 0: expected a finite number >= 0, got inf",
    ),
    (
        put("bounds", (1, CODE_NORM, 1), -1),
        "index: code_norm of block 1: expected a finite number >= 0, got -1",
    ),
    (put("bounds", (0, NORM, 2), np.nan), "index: norm of block 2: expected a finite number >= 0"),
    (
        put("bounds", (0, ALONG_MIN, 2), -np.inf),
        "index: along_min of block 2: expected a finite number, got -inf",
    ),
    (
        put("bounds", (1, ALONG_MAX, 2), np.nan),
        "index: along_max of block 2: expected a finite number, got nan",
    ),
    (put("bounds", (1, ACROSS, 2), -1e-30), "index: across of block 2: expected a finite number >= 0"),
    (put("centres", (1, slice(0, 10)), 0.4), "index: centre 1: expected parts no longer than 1, got 1.26"),
    (put("centres", (0, 15), np.nan), "index: centre 0: expected parts no longer than 1, got nan"),
    (put("centres", (0, 0), -np.inf), "index: centre 0: expected parts no longer than 1, got inf"),
]

WRONG_ARRAYS = [
    (replace("codes", lambda a: a.view(np.int8)), TypeError, "index: codes: expected dtype uint8, got int8"),
    (
        replace("codes", lambda a: a[:, :-1].copy()),
        ValueError,
        r"index: codes: expected shape \(\d+, 5, 64, 4\), got",
    ),
    (replace("codes", lambda a: a[:, ::-1]), ValueError, "index: codes: expected a C-contiguous array"),
    (replace("codes", lambda a: a.reshape(-1)), ValueError, "index: codes: expected rank 4, got rank 1"),
    (replace("rows", lambda a: a.view(np.int32)), TypeError, "index: rows: expected dtype uint32, got int32"),
    (replace("rows", lambda a: a[:-1]), ValueError, r"index: rows: expected shape \(\d+, 64\), got"),
    (
        replace("cluster", lambda a: a.astype(np.uint64)),
        TypeError,
        "index: cluster: expected dtype uint32, got uint64",
    ),
    (replace("cluster", lambda a: a[None]), ValueError, "index: cluster: expected rank 1, got rank 2"),
    (replace("cluster", lambda a: a[:-1]), ValueError, r"index: codes: expected shape"),
    (
        replace("bounds", lambda a: a.astype(float)),
        TypeError,
        "index: bounds: expected dtype float32, got float64",
    ),
    (
        replace("bounds", lambda a: a[:1]),
        ValueError,
        r"index: bounds: expected shape \(2, 7, \d+\), got \(1, 7,",
    ),
    (replace("bounds", lambda a: a[:, :6].copy()), ValueError, "index: bounds: expected shape"),
    (
        replace("centres", lambda a: a[:, :15].copy()),
        ValueError,
        r"index: centres: expected shape \(\d+, 16\), got",
    ),
    (replace("centres", lambda a: a[:0]), ValueError, "index: .*cluster"),
    (
        replace("centres", lambda a: a.tolist()),
        TypeError,
        "index: centres: expected a numpy.ndarray of float32, got",
    ),
    (lambda index: index.pop("bounds"), ValueError, "index: expected the arrays .*; missing: bounds"),
    (
        lambda index: index.update(more=np.zeros(1)),
        ValueError,
        "index: expected the arrays .*; got 'more' too",
    ),
]


@pytest.mark.parametrize(("change", "message"), WRONG_VALUES)
def test_wrong_values(
    vectors: oracle.Floats, built: Index, change: Callable[[Index], None], message: str
) -> None:
    index = copied(built)
    change(index)
    with pytest.raises(ValueError, match=message):
        Catalogue(vectors, index=index, parts=PARTS)


@pytest.mark.parametrize(("change", "error", "message"), WRONG_ARRAYS)
def test_wrong_arrays(
    vectors: oracle.Floats,
    built: Index,
    change: Callable[[Index], None],
    error: type[Exception],
    message: str,
) -> None:
    index = copied(built)
    change(index)
    with pytest.raises(error, match=message):
        Catalogue(vectors, index=index, parts=PARTS)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([16], r"index: codes: expected shape \(\d+, 4, 64, 4\)"),
        ([6, 10], "index: centre .: expected parts no longer than 1"),  # as many quads: the shapes fit
        ([10, 5], r"parts: expected one or two widths >= 1 that sum to 16, got \[10, 5\]"),
        ([16, 0], "parts: expected one or two widths"),
        ([], "parts: expected one or two widths"),
        ([8, 4, 4], r"parts: expected one or two widths .* got \[8, 4, 4\]"),
    ],
    ids=str,
)
def test_other_parts(vectors: oracle.Floats, built: Index, parts: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Catalogue(vectors, index=built, parts=parts)


def test_an_index_of_other_items(vectors: oracle.Floats, built: Index) -> None:
    with pytest.raises(ValueError, match="index: rows: expected all 9001 items, got 9000"):
        Catalogue(np.concatenate([vectors, vectors[:1]]), index=built, parts=PARTS)
    with pytest.raises(ValueError, match=r"index: rows of block .*: expected each item of 8999 once"):
        Catalogue(vectors[:-1], index=built, parts=PARTS)
    with pytest.raises(
        ValueError, match=r"expected a bound on all its items, got one that item row .* breaks"
    ):
        Catalogue(vectors[::-1].copy(), index=built, parts=PARTS).check_index()


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(
    ("kind", "name", "to"),
    [
        (CODE_ERROR, "code_error", -np.inf),
        (CODE_NORM, "code_norm", -np.inf),
        (NORM, "norm", -np.inf),
        (ALONG_MIN, "along_min", np.inf),
        (ALONG_MAX, "along_max", -np.inf),
        (ACROSS, "across", -np.inf),
    ],
)
def test_the_smallest_change_of_a_bound_is_found(
    vectors: oracle.Floats, built: Index, part: int, kind: int, name: str, to: float
) -> None:
    index = copied(built)
    for block in (0, len(index["cluster"]) - 1):
        index["bounds"][part, kind, block] = np.nextafter(index["bounds"][part, kind, block], np.float32(to))
        with pytest.raises(
            ValueError, match=f"index: {name} of block {block}, part {part}: expected a bound"
        ):
            Catalogue(vectors, index=index, parts=PARTS).check_index()
        index["bounds"][part, kind, block] = built["bounds"][part, kind, block]
    Catalogue(vectors, index=index, parts=PARTS).check_index()


def test_a_changed_code_is_found(vectors: oracle.Floats, built: Index) -> None:
    index = copied(built)
    index["codes"][5, 1, 7, 2] ^= 0x80
    with pytest.raises(ValueError, match="of block 5, part 0: expected a bound on all its items"):
        Catalogue(vectors, index=index, parts=PARTS).check_index()


def test_a_catalogue_without_an_index_has_nothing_to_check(vectors: oracle.Floats) -> None:
    assert Catalogue(vectors).parts == [16]
    Catalogue(vectors).check_index()


def n_wrong_queries(vectors: oracle.Floats, index: Index, level: str) -> int:
    """Return how many of the items themselves, as queries, get another answer than they should."""
    queries = oracle.plain_queries(vectors[::300].copy())
    reference = queries.reference(Catalogue(vectors))
    catalogue = Catalogue(vectors, index=index, parts=PARTS, simd_level=level)
    rows = queries.search(catalogue, 10)[0]
    single = np.concatenate([queries.only(b).search(catalogue, 10)[0] for b in range(len(rows))])
    expected = np.stack([oracle.rank(scores, 10)[0] for scores in reference])
    return int((rows != expected).any(axis=1).sum() + (single != expected).any(axis=1).sum())


@pytest.mark.parametrize("level", supported_simd_levels())
@pytest.mark.parametrize(
    "kinds", [[ALONG_MIN, ALONG_MAX, ACROSS], [CODE_ERROR, CODE_NORM]], ids=["blocks", "codes"]
)
def test_bounds_that_do_not_hold_make_wrong_answers(
    vectors: oracle.Floats, built: Index, level: str, kinds: list[int]
) -> None:
    """If they did not, the tests that compare answers could not tell a sound bound from a broken one."""
    assert n_wrong_queries(vectors, built, level) == 0
    index = copied(built)
    for kind in kinds:
        index["bounds"][:, kind, ::2] *= 0.1
    index["codes"][::2, :, :, :] = 128 if CODE_ERROR in kinds else index["codes"][::2]
    assert n_wrong_queries(vectors, index, level) > 10


def build(vectors: Any = None, **changes: Any) -> Index:
    arguments = {"parts": [4]} | changes
    return build_index(np.ones((3, 4), np.float32) if vectors is None else vectors, **arguments)


NOT_FINITE = np.array([[1, 2], [3, np.nan]], np.float32)

WRONG_BUILDS = [
    ({"vectors": np.ones((3, 4))}, TypeError, "vectors: expected dtype float32, got float64"),
    ({"vectors": np.ones(4, np.float32)}, ValueError, "vectors: expected rank 2, got rank 1"),
    ({"vectors": np.ones((0, 4), np.float32)}, ValueError, "vectors: expected at least one item"),
    ({"vectors": NOT_FINITE, "parts": [2]}, ValueError, "vectors, row 1, column 1: expected a finite number"),
    ({"parts": [5]}, ValueError, r"parts: expected one or two widths >= 1 that sum to 4, got \[5\]"),
    ({"parts": [2, 1, 1]}, ValueError, "parts: expected one or two widths"),
    ({"parts": [-4]}, TypeError, "incompatible function arguments"),
    ({"parts": 4}, TypeError, "incompatible function arguments"),
    ({"threads": 0}, ValueError, "threads: expected a number >= 1, got 0"),
    ({"threads": -1}, TypeError, "incompatible function arguments"),
    ({"simd_level": "sse9"}, ValueError, "simd_level: expected a level .* got 'sse9'"),
    (
        {"vectors": np.ones((1, 32769), np.float32), "parts": [32769]},
        ValueError,
        "parts: expected at most 32768 dimensions in an index, got 32769",
    ),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG_BUILDS)
def test_build_index_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(**changes)


def test_the_widest_vectors_that_an_index_takes() -> None:
    vectors = np.random.default_rng(1).normal(size=(70, 32768)).astype(np.float32)
    queries = oracle.plain_queries(vectors[:2].copy())
    expected = [oracle.rank(scores, 5) for scores in queries.reference(Catalogue(vectors))]
    index = build_index(vectors, parts=[32768])
    for level in supported_simd_levels():
        catalogue = Catalogue(vectors, index=index, simd_level=level)
        oracle.assert_same_results(queries.search(catalogue, 5), expected)


def test_index_arrays_are_looked_at_and_not_copied(vectors: oracle.Floats, built: Index) -> None:
    index = copied(built)
    catalogue = Catalogue(vectors, index=index, parts=PARTS)
    index["bounds"][:] = -1  # against the contract, and the only way to see that nothing was copied
    with pytest.raises(ValueError, match="expected a bound on all its items"):
        catalogue.check_index()
