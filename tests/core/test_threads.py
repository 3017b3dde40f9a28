# The GIL is released while searching, and searches of one catalogue from many threads are independent.
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue


@pytest.fixture
def only_voluntary_switches() -> Iterator[None]:
    """Keep the interpreter from taking the GIL from a thread that does not give it up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("only_voluntary_switches")
@pytest.mark.parametrize("method", ["search", "reference"])
def test_another_thread_advances_during_a_call(method: str) -> None:
    rng = np.random.default_rng(0)
    catalogue = Catalogue(rng.normal(size=(4000, 32)).astype(np.float32), simd_level="scalar")
    queries = oracle.plain_queries(rng.normal(size=(20, 32)).astype(np.float32))
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
            if method == "search":
                queries.search(catalogue, 10)
            else:
                queries.reference(catalogue)
            advanced = steps > before
            if advanced:
                break
    finally:
        stop.set()
        thread.join()
    assert advanced


def test_searches_from_many_threads() -> None:
    rng = np.random.default_rng(1)
    catalogue = Catalogue(rng.normal(size=(5000, 48)).astype(np.float32))
    rule = oracle.random_rule(rng, 1, 2, "softplus")
    batches = [oracle.random_queries(rng, int(rng.integers(1, 5)), 48, rule) for _ in range(40)]
    alone = [batch.search(catalogue, 20) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: batch.search(catalogue, 20), batches * 5))
    for (rows, scores), (other_rows, other_scores) in zip(alone * 5, together, strict=True):
        np.testing.assert_array_equal(rows, other_rows)
        np.testing.assert_array_equal(scores.view(np.int32), other_scores.view(np.int32))
