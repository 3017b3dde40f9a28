# Arrays are read where they lie: read-only, memory-mapped, unpadded, up to their last byte and no further.
import ctypes
import gc
import mmap
import pathlib
import sys
import weakref

import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, build_index, supported_simd_levels

LEVELS = supported_simd_levels()


def test_a_catalogue_sees_its_array_and_not_a_copy() -> None:
    vectors = np.array([[1.0], [2.0]], np.float32)
    catalogue = Catalogue(vectors)
    queries = oracle.plain_queries(np.ones((1, 1), np.float32))
    assert queries.search(catalogue, 1)[0].tolist() == [[1]]
    vectors[0] = 3  # against the contract, and the only way to see that nothing was copied
    assert queries.search(catalogue, 1)[0].tolist() == [[0]]


def test_read_only_arrays() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    tags = np.ones((20, 1), np.uint64)
    queries = oracle.random_queries(rng, 2, 4, oracle.random_rule(rng, 1, 1, "relu"))
    index = build_index(vectors, parts=[4])
    arrays = (vectors, tags, queries.user, queries.experts, queries.gates, queries.strength, *index.values())
    for array in arrays:
        array.flags.writeable = False
    rows, _ = queries.search(Catalogue(vectors, tags, index=index), 3)
    assert rows.shape == (2, 3)


def test_memory_mapped_arrays(tmp_path: pathlib.Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    path = tmp_path / "vectors.bin"
    path.write_bytes(b"header!!" + vectors.tobytes())
    mapped = np.memmap(path, np.float32, "r", offset=8, shape=(50, 6))
    queries = oracle.plain_queries(vectors[:2].copy())
    expected = queries.search(Catalogue(vectors), 50)
    got = queries.search(Catalogue(mapped), 50)
    np.testing.assert_array_equal(got[0], expected[0])
    np.testing.assert_array_equal(got[1], expected[1])


class TrackedArray(np.ndarray):
    """An array that can be weakly referenced."""


def test_a_catalogue_keeps_its_arrays_alive_and_lets_them_go() -> None:
    vectors = np.ones((1000, 8), np.float32).view(TrackedArray)
    tags = np.ones((1000, 1), np.uint64).view(TrackedArray)
    rows = np.arange(1000).view(TrackedArray)
    index = {name: array.view(TrackedArray) for name, array in build_index(vectors, parts=[8]).items()}
    references = [weakref.ref(array) for array in (vectors, tags, rows, *index.values())]
    catalogue = Catalogue(vectors, tags, index=index, row_ids=rows)
    del vectors, tags, rows, index
    gc.collect()
    assert all(reference() is not None for reference in references)
    assert oracle.plain_queries(np.ones((1, 8), np.float32)).search(catalogue, 1)[1].tolist() == [[8.0]]
    del catalogue
    gc.collect()
    assert all(reference() is None for reference in references)


def test_compaction_lets_the_first_arrays_go() -> None:
    vectors = np.ones((100, 8), np.float32).view(TrackedArray)
    index = {name: array.view(TrackedArray) for name, array in build_index(vectors, parts=[8]).items()}
    references = [weakref.ref(array) for array in (vectors, *index.values())]
    catalogue = Catalogue(vectors, index=index)
    del vectors, index
    catalogue.remove(np.array([1]))
    assert all(reference() is not None for reference in references)
    catalogue.compact()
    gc.collect()
    assert all(reference() is None for reference in references)


def at_page_end(array: np.ndarray) -> np.ndarray:
    """Return a copy whose last byte is the last one before memory that must not be touched."""
    page = mmap.PAGESIZE
    n_pages = -(-array.nbytes // page)
    memory = mmap.mmap(-1, (n_pages + 1) * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    no_access = 0
    assert libc.mprotect(ctypes.c_void_p(address + n_pages * page), ctypes.c_size_t(page), no_access) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, n_pages * page - array.nbytes).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dim", [1, 3, 7, 8, 9, 15, 16, 17, 24, 31, 33, 100])
def test_nothing_is_read_past_the_end(level: str, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rule = oracle.random_rule(rng, 1, 1, "relu")
    for n_items in (1, 3, 4, 5, 15, 16, 17, 40):
        queries = oracle.random_queries(rng, 2, dim, rule)
        guarded = oracle.Queries(
            *(
                at_page_end(array)
                for array in (queries.user, queries.experts, queries.gates, queries.strength)
            ),
            rule=rule,
        )
        vectors = rng.normal(size=(n_items, dim)).astype(np.float32)
        catalogue = Catalogue(at_page_end(vectors), simd_level=level)
        scores = queries.reference(Catalogue(vectors))
        oracle.assert_same_results(
            guarded.search(catalogue, n_items), [oracle.rank(row, n_items) for row in scores]
        )


@pytest.mark.skipif(sys.platform != "linux", reason="needs mprotect")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parts", [[1], [3], [16], [5, 2], [20, 17]], ids=str)
def test_nothing_is_read_past_the_end_of_an_index(level: str, parts: list[int]) -> None:
    rng = np.random.default_rng(len(parts))
    for n_items in (1, 63, 65, 5000):
        vectors = rng.normal(size=(n_items, sum(parts))).astype(np.float32)
        index = {name: at_page_end(array) for name, array in build_index(vectors, parts=parts).items()}
        catalogue = Catalogue(at_page_end(vectors), index=index, parts=parts, simd_level=level)
        for n_queries in (1, 9):
            queries = oracle.random_queries(rng, n_queries, sum(parts), oracle.random_rule(rng, 1, 1, "relu"))
            expected = [oracle.rank(scores, 5) for scores in queries.reference(Catalogue(vectors))]
            oracle.assert_same_results(queries.search(catalogue, 5), expected)


def shifted(array: np.ndarray, offset: int) -> np.ndarray:
    """Return a copy, `offset` elements from where its memory begins."""
    copy = np.empty(array.size + offset, array.dtype)[offset:].reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("offset", [1, 2, 3, 5, 15])
def test_any_multiple_of_an_elements_size_is_alignment_enough(level: str, offset: int) -> None:
    rng = np.random.default_rng(offset)
    vectors = rng.normal(size=(33, 37)).astype(np.float32)
    queries = oracle.plain_queries(vectors[:3].copy())
    scores = queries.reference(Catalogue(vectors))
    index = {name: shifted(array, offset) for name, array in build_index(vectors, parts=[30, 7]).items()}
    for with_index in ({}, {"index": index, "parts": [30, 7]}):
        catalogue = Catalogue(shifted(vectors, offset), simd_level=level, **with_index)
        got = queries.search(catalogue, 33)
        oracle.assert_same_results(got, [oracle.rank(row, 33) for row in scores])
