# The GIL is released while searching, and searches of one catalogue from many threads are independent.
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, SearchCounters, build_index


@pytest.fixture
def only_voluntary_switches() -> Iterator[None]:
    """Keep the interpreter from taking the GIL from a thread that does not give it up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


def some_call(name: str) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4000, 32)).astype(np.float32)
    queries = oracle.plain_queries(rng.normal(size=(20, 32)).astype(np.float32))
    plain = Catalogue(vectors, simd_level="scalar")
    indexed = Catalogue(vectors, index=build_index(vectors, parts=[32]), simd_level="scalar")

    def compact() -> None:
        indexed.remove(np.array([indexed.add(vectors[:1])]))
        indexed.compact()

    return {
        "search": lambda: queries.search(plain, 10),
        "search an index": lambda: queries.search(indexed, 1000),
        "search with threads": lambda: queries.search(indexed, 1000, threads=2),
        "reference": lambda: queries.reference(plain),
        "build an index": lambda: build_index(vectors, parts=[32]),
        "open an index": lambda: Catalogue(vectors, index=build_index(vectors, parts=[32])),
        "check an index": indexed.check_index,
        "compact": compact,
    }[name]


@pytest.mark.usefixtures("only_voluntary_switches")
@pytest.mark.parametrize(
    "name",
    [
        "search",
        "search an index",
        "search with threads",
        "reference",
        "build an index",
        "open an index",
        "check an index",
        "compact",
    ],
)
def test_another_thread_advances_during_a_call(name: str) -> None:
    call = some_call(name)
    steps = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal steps
        while not stop.is_set():
            steps += 1
            time.sleep(0)  # gives the GIL up

    thread = threading.Thread(target=count)
    thread.start()
    try:
        advanced = False
        # A call that holds the GIL lets nobody count; how soon the other thread runs is up to the machine.
        for _ in range(200):
            before = steps
            call()
            advanced = steps > before
            if advanced:
                break
    finally:
        stop.set()
        thread.join()
    assert advanced


@pytest.mark.parametrize("with_index", [False, True], ids=["plain", "index"])
def test_searches_from_many_threads(with_index: bool) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5000, 48)).astype(np.float32)
    catalogue = Catalogue(vectors, index=build_index(vectors, parts=[48]) if with_index else None)
    rule = oracle.random_rule(rng, 1, 2, "softplus")
    batches = [oracle.random_queries(rng, int(rng.integers(1, 5)), 48, rule) for _ in range(40)]
    alone = [batch.search(catalogue, 20) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: batch.search(catalogue, 20, threads=2), batches * 5))
    for (rows, scores), (other_rows, other_scores) in zip(alone * 5, together, strict=True):
        np.testing.assert_array_equal(rows, other_rows)
        np.testing.assert_array_equal(scores.view(np.int32), other_scores.view(np.int32))


@pytest.mark.parametrize("way", ["plain", "index", "allowed"])
@pytest.mark.parametrize("n_queries", [2, 3, 8, 12, 32])
def test_every_thread_has_a_piece_of_a_batch(way: str, n_queries: int) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(3000, 16)).astype(np.float32)
    catalogue = Catalogue(vectors, index=None if way == "plain" else build_index(vectors, parts=[16]))
    queries = oracle.plain_queries(rng.normal(size=(n_queries, 16)).astype(np.float32))
    allowed = {
        "allowed_rows": rng.integers(0, 3000, 20 * n_queries),
        "allowed_offsets": np.arange(0, 20 * n_queries + 1, 20),
    }
    filters = allowed if way == "allowed" else {}
    alone, shared = SearchCounters(), SearchCounters()
    rows, scores = queries.search(catalogue, 10, counters=alone, **filters)
    other_rows, other_scores = queries.search(catalogue, 10, threads=4, counters=shared, **filters)
    assert (alone.n_pieces, shared.n_pieces) == (1, min(n_queries, 4))
    np.testing.assert_array_equal(rows, other_rows)
    np.testing.assert_array_equal(scores.view(np.int32), other_scores.view(np.int32))
