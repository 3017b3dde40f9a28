# A catalogue that many threads search while others change it: every answer belongs to one of the states that there
# were, and memory does not grow. Forked children of such a process can go on.
from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, build_index

DIM, BALLAST, WINDOW = 8, 6000, 300


class MovingWindow:
    """Row r scores r. A new row comes, then the oldest goes: a search must find WINDOW or WINDOW + 1 rows, no hole.

    The rows before them score -1 and are there for compaction to take its time.
    """

    def __init__(self) -> None:
        vectors = np.zeros((BALLAST + WINDOW, DIM), np.float32)
        vectors[:, 0] = np.arange(BALLAST + WINDOW)
        vectors[:BALLAST, 0] = -1
        self.catalogue = Catalogue(vectors, index=build_index(vectors, parts=[DIM]))
        self.queries = oracle.plain_queries(np.eye(1, DIM, dtype=np.float32).repeat(9, axis=0))
        self.n_searches = self.n_compactions = 0
        self.errors: list[str] = []

    def move(self) -> None:
        row = self.catalogue.n_rows
        self.catalogue.add(np.eye(1, DIM, dtype=np.float32) * np.float32(row))
        self.catalogue.remove(np.array([row - WINDOW]))

    def search(self) -> None:
        for queries in (self.queries, self.queries.only(0)):
            rows, scores = queries.search(self.catalogue, WINDOW + 3, threads=2)
            if not (rows == rows[0]).all():
                self.errors.append("the queries of one batch saw different states")
            found = rows[0][rows[0] >= BALLAST]
            if len(found) not in (WINDOW, WINDOW + 1) or (np.diff(found) != -1).any():
                self.errors.append(f"no state of the catalogue: {found.tolist()}")
            if not (scores[0][: len(found)] == found).all():
                self.errors.append("scores that are not of these rows")
        self.n_searches += 1

    def compact(self) -> None:
        self.catalogue.compact(threads=2)
        self.n_compactions += 1

    def count(self) -> None:
        if self.catalogue.n_items - BALLAST not in (WINDOW, WINDOW + 1):
            self.errors.append("a number of items that there never was")


class Repeated:
    """Threads that call functions again and again until the block is left; errors come out there."""

    def __init__(self, *calls: Callable[[], None]) -> None:
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=[call]) for call in calls]

    def _run(self, call: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                call()
        except BaseException as error:
            self._errors.append(error)

    def __enter__(self) -> Repeated:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
def test_searches_see_a_whole_state_while_others_change_and_compact() -> None:
    window = MovingWindow()
    with Repeated(window.search, window.search, window.compact, window.count):
        n_moves = 0
        while not window.errors and (n_moves < 300 or window.n_searches < 1000 or window.n_compactions < 30):
            window.move()
            window.search()  # at once: what is lost now will soon have left the window
            n_moves += 1
    assert not window.errors, window.errors[0]
    assert window.catalogue.n_items == BALLAST + WINDOW


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/statm")
def test_memory_stays_flat() -> None:
    """Each compaction makes arrays of 4 MB; searches of the old ones let them go when they end."""
    vectors = np.random.default_rng(0).normal(size=(16000, 32)).astype(np.float32)
    catalogue = Catalogue(vectors, index=build_index(vectors, parts=[32]))
    queries = oracle.plain_queries(vectors[:9].copy())

    def search() -> None:
        queries.search(catalogue, 10, threads=2)

    def change_much(n_times: int) -> None:
        for _ in range(n_times):
            first = catalogue.add(vectors[:2000])
            catalogue.remove(np.arange(first, first + 2000))
            catalogue.compact(threads=2)

    with Repeated(search, search):
        change_much(5)
        before = resident_bytes()
        change_much(25)
    assert resident_bytes() - before < 30e6  # 25 states kept would be 100 MB


_FORK = """
import os
import threading
import warnings

import numpy as np
from dpr_infer._core import Catalogue, ScoreRule, build_index

warnings.simplefilter("ignore", DeprecationWarning)  # Python's own about fork with threads: that is what is tested
rng = np.random.default_rng(0)
vectors = rng.standard_normal((20000, 16), np.float32)
user = rng.standard_normal((20, 16), np.float32)
catalogue = Catalogue(vectors, index=build_index(vectors, parts=[16], threads=3))
other = Catalogue(vectors[:500], index=build_index(vectors[:500], parts=[16]))
rule = ScoreRule(roles=[], biases=[], phi="relu")


def search(catalogue):
    no_experts = np.zeros((20, 0, 16), np.float32)
    return catalogue.search(
        user, no_experts, no_experts[:, :, 0].copy(), rule=rule, strength=np.ones(20, np.float32), k=10, threads=3
    )[0]


expected = search(catalogue)
stop = threading.Event()


def search_on():
    while not stop.is_set():
        search(catalogue)


def change_on():
    while not stop.is_set():
        first = other.add(vectors[:50])
        other.remove(np.arange(first, first + 50))
        other.compact(threads=2)


threads = [threading.Thread(target=target) for target in (search_on, change_on)]
for thread in threads:
    thread.start()
exit_codes = []
for _ in range(40):
    child = os.fork()
    if child == 0:
        ok = (search(catalogue) == expected).all()
        other.add(vectors[:70])
        other.compact(threads=2)
        ok = ok and search(other).shape == (20, 10)
        build_index(vectors[:9000], parts=[16], threads=2)
        os._exit(0 if ok else 1)
    exit_codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
for thread in threads:
    thread.join()
assert (search(catalogue) == expected).all()
print(exit_codes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_forked_children_search_and_change_with_threads_of_their_own() -> None:
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([0] * 40)
