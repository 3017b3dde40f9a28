# A catalogue that changes: any sequence of changes leaves what the model says, and searches go on meanwhile.

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalogue_model import EXPRESSIONS, Model, random_tags, random_vectors
from core import oracle
from dpr_infer import Catalogue, QueryError, QueryTypeError

SEEDS = st.integers(0, 2**32)


class LivingCatalogue(RuleBasedStateMachine):
    """Changes a catalogue and a model alike; what they answer and count must stay the same."""

    @initialize(seed=SEEDS, n_items=st.integers(1, 150), dim=st.integers(1, 12), threads=st.integers(1, 2))
    def build(self, seed, n_items, dim, threads):
        rng = np.random.default_rng(seed)
        vectors, tags = random_vectors(rng, n_items, dim), random_tags(rng, n_items)
        tags[0] = frozenset(("war", "comedy", "film noir"))
        self.threads = threads
        self.catalogue = Catalogue(vectors, tags, threads=threads)
        self.model = Model(vectors, tags)
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(seed=SEEDS, n=st.integers(0, 80))
    def add(self, seed, n):
        rng = np.random.default_rng(seed)
        vectors, tags = random_vectors(rng, n, self.catalogue.dim), random_tags(rng, n)
        rows = self.catalogue.add(vectors, tags)
        assert rows.dtype == np.int64
        assert rows.tolist() == self.model.add(vectors, tags)

    @rule(seed=SEEDS, share=st.sampled_from([0.02, 0.3, 0.9]))
    def remove(self, seed, share):
        rng = np.random.default_rng(seed)
        items = self.model.items
        # One item stays.
        rows = [row for row in rng.permutation(items).tolist()[1:] if rng.random() < share]
        self.catalogue.remove(rows)
        self.model.removed.update(rows)

    @rule(seed=SEEDS, available=st.booleans(), share=st.sampled_from([0.05, 0.5, 1]))
    def switch(self, seed, available, share):
        rng = np.random.default_rng(seed)
        rows = [row for row in self.model.items if rng.random() < share]
        self.catalogue.set_available(np.array(rows, np.int64), available)
        self.model.off = self.model.off - set(rows) if available else self.model.off | set(rows)

    @rule(seed=SEEDS)
    def refuse(self, seed):
        """What cannot be done is not done in part."""
        rng = np.random.default_rng(seed)
        known = int(rng.choice(self.model.items))
        for unknown in [*list(self.model.removed)[:1], len(self.model.vectors), -1]:
            with pytest.raises(QueryError, match=r"row|item"):
                self.catalogue.remove([known, unknown])
            with pytest.raises(QueryError, match=r"row|item"):
                self.catalogue.set_available([known, unknown], False)
        vectors = np.ones((2, self.catalogue.dim), np.float32)
        with pytest.raises(QueryError, match="tags must be names that the catalogue was built with; 'wor'"):
            self.catalogue.add(vectors, [["war"], ["wor"]])
        vectors[1, 0] = np.nan
        with pytest.raises(QueryError, match="finite"):
            self.catalogue.add(vectors, [[], []])

    @rule(wait=st.booleans())
    def compact(self, wait):
        future = self.catalogue.compact(wait=wait)
        assert (future is None) == wait
        if future is not None:
            future.result()
        assert self.catalogue.n_pending == 0

    @rule(verify=st.sampled_from(["fast", "full"]))
    def reopen(self, verify):
        path = self.folder / "catalogue"
        self.catalogue.save(path)
        self.catalogue = Catalogue.load(path, threads=self.threads, verify=verify)
        assert [entry.name for entry in self.folder.iterdir()] == ["catalogue"]

    @rule(seed=SEEDS, k=st.integers(1, 60))
    def search(self, seed, k):
        rng = np.random.default_rng(seed)
        n_queries, dim = int(rng.integers(1, 4)), self.catalogue.dim
        queries = random_vectors(rng, n_queries, dim)
        options = {}
        if rng.random() < 0.5:
            options["where"] = [list(EXPRESSIONS)[i] for i in rng.integers(0, len(EXPRESSIONS), n_queries)]
        if rng.random() < 0.5:
            options["away"] = random_vectors(rng, n_queries * 2, dim).reshape(n_queries, 2, dim)
        for name in ("exclude", "allow"):
            if rng.random() < 0.3:
                options[name] = rng.integers(0, self.catalogue.n_rows, (n_queries, 50))
        got = self.catalogue.search(queries, k, **options)
        oracle.assert_same_results(got, self.model.search(queries, k, **options))

    @invariant()
    def same_counts(self):
        if not hasattr(self, "catalogue"):
            return
        assert self.catalogue.n_rows == len(self.model.vectors)
        assert self.catalogue.n_items == len(self.catalogue) == len(self.model.items)


LivingCatalogue.TestCase.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
TestLivingCatalogue = LivingCatalogue.TestCase


def test_a_catalogue_without_items_answers_nothing(tmp_path):
    catalogue = Catalogue(np.eye(3), threads=2)
    catalogue.remove([2, 0, 1])
    for _ in range(2):
        assert len(catalogue) == 0
        rows, scores = catalogue.search(np.ones((2, 3)), 2)
        assert rows.tolist() == [[-1, -1]] * 2
        assert scores.tolist() == [[-np.inf, -np.inf]] * 2
        catalogue.compact()
    catalogue.save(tmp_path / "empty")
    for again in (catalogue, Catalogue.load(tmp_path / "empty", verify="full")):
        assert (again.n_items, again.n_rows, again.dim, again.parts) == (0, 3, 3, (3,))
        assert again.search([1, 1, 1], 1)[0].tolist() == [-1]
        assert again.add([[0, 5, 0]]).tolist() == [3]
        assert again.search([1, 1, 1], 1)[0].tolist() == [3]
        again.compact()
        assert again.search([1, 1, 1], 1)[1].tolist() == [5]


def test_tags_are_given_exactly_when_there_are_some():
    with pytest.raises(QueryError, match="tags must not be given: the catalogue was built without"):
        Catalogue(np.eye(2)).add([[1, 1]], [["war"]])
    with pytest.raises(QueryError, match="tags must be given, for the catalogue has some"):
        Catalogue(np.eye(2), [["war"], []]).add([[1, 1]])
    with pytest.raises(QueryError, match="one collection of names an item, 1; got 2"):
        Catalogue(np.eye(2), [["war"], []]).add([[1, 1]], [[], []])
    with pytest.raises(QueryError, match=r"'war' of item 0 is none .there is no tag at all"):
        Catalogue(np.eye(2), [[], []]).add([[1, 1]], [["war"]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.add([[1, 2, 3]]), QueryError, r"vectors must have the shape \(any, 2\); got \(1, 3\)"),
        (lambda c: c.add([1, 2]), QueryError, "vectors must have the shape"),
        (lambda c: c.remove([0.0]), QueryTypeError, "rows must hold rows, integers; got dtype float64"),
        (lambda c: c.remove([True]), QueryTypeError, "rows must hold rows, integers; got dtype bool"),
        (lambda c: c.remove([[0]]), QueryError, "rows must have one dimension"),
        (lambda c: c.remove([2]), QueryError, "rows must hold rows from 0 to 1; got 2"),
        (lambda c: c.remove(None), QueryTypeError, "rows must hold rows, integers"),
        (lambda c: c.set_available([0], 1), QueryTypeError, "available must be True or False; got 1"),
        (lambda c: c.set_available(["0"], True), QueryTypeError, "rows must hold rows, integers"),
    ],
)
def test_wrong_changes(change, error, message):
    catalogue = Catalogue(np.eye(2))
    with pytest.raises(error, match=message):
        change(catalogue)
    assert catalogue.n_items == catalogue.n_rows == 2
    assert catalogue.search([1, 2], 3)[0].tolist() == [1, 0, -1]


def test_one_row_needs_no_list():
    catalogue = Catalogue(np.eye(3))
    catalogue.remove(np.int32(1))
    catalogue.set_available(0, np.bool(False))
    assert catalogue.search([1, 1, 1], 3)[0].tolist() == [2, -1, -1]


class SlowCompaction:
    """Compacts a core catalogue, then waits to be let go; counts."""

    def __init__(self, core):
        self.core = core
        self.started, self.go = threading.Event(), threading.Event()
        self.count = 0

    def compact(self):
        self.count += 1
        self.core.compact(threads=1)
        self.started.set()
        assert self.go.wait(30)


@pytest.fixture
def slow() -> tuple[Catalogue, SlowCompaction]:
    catalogue = Catalogue(np.eye(4))
    slow = SlowCompaction(catalogue._core)
    catalogue._changes._compact = slow.compact
    return catalogue, slow


def test_a_second_compaction_joins_the_first(slow):
    catalogue, compaction = slow
    first = catalogue.compact(wait=False)
    assert compaction.started.wait(30)
    assert catalogue.compact(wait=False) is first
    assert not first.cancel()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(catalogue.compact)
        # Meanwhile all else goes on.
        assert catalogue.add([[9, 9, 9, 9]]).tolist() == [4]
        catalogue.remove([0])
        catalogue.set_available([1], False)
        assert catalogue.search([1, 1, 1, 1], 5)[0].tolist() == [4, 2, 3, -1, -1]
        assert not first.done()
        compaction.go.set()
        assert first.result(30) is None
        assert waiting.result(30) is None
    assert compaction.count == 1
    assert catalogue.compact(wait=False).result(30) is None
    assert compaction.count == 2
    assert catalogue.n_pending == 0
    assert catalogue.search([1, 1, 1, 1], 5)[0].tolist() == [4, 2, 3, -1, -1]


def test_a_save_waits_for_what_was_changed_during_a_compaction(slow, tmp_path):
    catalogue, compaction = slow
    catalogue.compact(wait=False)
    assert compaction.started.wait(30)
    catalogue.remove([2])
    catalogue.add([[7, 7, 7, 7]])
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(catalogue.save, tmp_path / "file")
        compaction.go.set()
        saving.result(30)
    assert Catalogue.load(tmp_path / "file").search([1, 1, 1, 1], 6)[0].tolist() == [4, 0, 1, 3, -1, -1]


def test_a_failed_compaction_says_so_and_the_next_one_runs(slow):
    catalogue, compaction = slow

    def fail():
        raise MemoryError("no room")

    catalogue._changes._compact = fail
    with pytest.raises(MemoryError, match="no room"):
        catalogue.compact(wait=False).result(30)
    with pytest.raises(MemoryError, match="no room"):
        catalogue.compact()
    catalogue._changes._compact = compaction.compact
    compaction.go.set()
    catalogue.compact()
    assert compaction.count == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_searches_beside_changes(threads):
    """Whatever a search sees is a state that there was: nothing removed before it, nothing older left out."""
    rng = np.random.default_rng(3)
    vectors = random_vectors(rng, 1500, 8)
    model = Model(vectors, [frozenset()] * len(vectors))
    queries = rng.normal(size=(4, 8)).astype(np.float32)
    scores = model._scores(queries, None, None, "relu", 1.0, None)
    catalogue = Catalogue(vectors[:300], threads=threads)
    leaving: list[int] = []  # appended to before a removal
    removed: list[int] = []  # and this one after it
    stop = threading.Event()

    def search() -> int:
        count = 0
        while not stop.is_set() or count == 0:
            n_removed, n_rows = len(removed), catalogue.n_rows
            rows, got = catalogue.search(queries, 600)
            before = set(removed[:n_removed])
            for b in range(4):
                found = rows[b][rows[b] >= 0]
                assert before.isdisjoint(found.tolist())
                expected = oracle.rank(scores[b], 600, np.isin(np.arange(1500), found))
                oracle.assert_same_results((rows[b : b + 1], got[b : b + 1]), [expected])
                # All that was there before the search and is there after it ranks where it must.
                gone = set(leaving)
                must = [row for row in range(n_rows) if row not in gone and scores[b, row] > got[b, -1]]
                assert set(must) <= set(found.tolist())
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        try:
            for first in range(300, 1500, 40):
                assert catalogue.add(vectors[first : first + 40])[0] == first
                gone = [row for row in range(first - 200, first - 180) if row not in removed]
                leaving.extend(gone)
                catalogue.remove(gone)
                removed.extend(gone)
                catalogue.compact(wait=False)
        finally:
            stop.set()
        assert all(future.result(60) > 0 for future in searching)
    catalogue.compact()
    catalogue.compact()
    model.removed = set(removed)
    oracle.assert_same_results(catalogue.search(queries, 50), model.search(queries, 50))


def test_neither_pickled_nor_copied():
    catalogue = Catalogue(np.eye(2))
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied; save"):
            attempt(catalogue)


_FORK = """
import os, sys, time
import numpy as np
from dpr_infer import Catalogue

rng = np.random.default_rng(0)
catalogue = Catalogue(rng.normal(size=(20_000, 16)))
for attempt in range(3):
    catalogue.add(rng.normal(size=(3, 16)))
    future = catalogue.compact(wait=False)
    child = os.fork()
    if child == 0:
        assert catalogue.search(np.ones(16), 5)[0].min() >= 0
        row = catalogue.add(100 * np.ones((1, 16)))[0]
        catalogue.compact()
        assert catalogue.n_pending == 0
        catalogue.save(sys.argv[1])
        assert Catalogue.load(sys.argv[1]).search(np.ones(16), 1)[0].tolist() == [row]
        os._exit(0)
    future.result()
    deadline = time.monotonic() + 60
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
        sys.exit("the child hangs")
    assert done[1] == 0, done
print("fine")
"""


def test_a_fork_during_a_compaction_does_not_hang_the_child(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FORK, str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert done.stdout == "fine\n", done.stderr


def test_the_interpreter_waits_for_a_compaction(tmp_path):
    script = (
        "import numpy as np\nfrom dpr_infer import Catalogue\n"
        "catalogue = Catalogue(np.random.default_rng(0).normal(size=(20_000, 16)))\n"
        "catalogue.compact(wait=False).add_done_callback(lambda future: print(future.exception()))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("None\n", "", 0)
