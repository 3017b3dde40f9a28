# Peers answer what they are asked, built or loaded, and are brought to the terms of a comparison honestly.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpr_bench import kernel_peers_exact, kernel_tuning
from dpr_bench.kernel_data import clustered
from dpr_bench.kernel_index_cache import IndexCache, digest_of
from dpr_bench.kernel_peers_approximate import APPROXIMATE, AtEffort
from dpr_bench.kernel_peers_exact import FlatPeer, NumpyPeer, OnnxPeer, TorchPeer
from dpr_bench.kernel_question import recall
from dpr_bench.kernel_tuning import faster_of, fastest_at_recall

DATA = clustered(3000, 16, n_queries=20, n_tuning=30, n_clusters=16)
EXPECTED = np.argsort(-(DATA.queries @ DATA.vectors.T), axis=1)[:, :10]


@pytest.mark.parametrize(
    "make",
    [lambda v: FlatPeer.both(v)[0], lambda v: FlatPeer.both(v)[1], OnnxPeer, TorchPeer, NumpyPeer],
    ids=["flat", "flat BLAS", "onnxruntime", "torch", "numpy"],
)
@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize("fed", [False, True])
def test_exact_peers_are_exact(make, slices, fed, monkeypatch):
    if slices:
        monkeypatch.setattr(kernel_peers_exact, "_MOST_SCORE_BYTES", 3 * 4 * 3000)
    if fed:
        monkeypatch.setattr(kernel_peers_exact, "_MOST_INITIALIZER_BYTES", 1)
    peer = make(DATA.vectors)
    rows = peer.search(DATA.queries, 10)
    assert rows.shape == (20, 10)
    assert recall(rows, EXPECTED) > 0.99  # rounding may swap items of nearly the same score
    np.testing.assert_array_equal(peer.search(DATA.queries[:1], 1)[:, 0], EXPECTED[:1, 0])


@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximate_peers_are_built_once_and_loaded_then(name, tmp_path):
    digest = digest_of(DATA.vectors)
    built = APPROXIMATE[name](DATA.vectors, digest, IndexCache(tmp_path), construction=40)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    loaded = APPROXIMATE[name](DATA.vectors, digest, IndexCache(tmp_path), construction=40)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == kept
    assert loaded.built.build_s == built.built.build_s
    assert loaded.built.n_bytes > 3000 * 16 / 2
    shares = []
    for effort in (built.curve[0], built.efforts[-1]):
        rows = AtEffort(built, effort).search(DATA.queries, 10)
        assert rows.shape == (20, 10)
        np.testing.assert_array_equal(AtEffort(loaded, effort).search(DATA.queries, 10), rows)
        shares.append(recall(rows, EXPECTED))
    assert shares[1] > 0.95
    assert shares[0] <= shares[1]
    assert AtEffort(built, built.efforts[-1]).search(DATA.queries[:1], 10).shape == (1, 10)


def write(text, path):
    Path(path).write_text(text, encoding="utf-8")


def read(path):
    return Path(path).read_text(encoding="utf-8")


def test_the_cache_tells_vectors_and_settings_apart(tmp_path):
    cache = IndexCache(tmp_path)
    builds = []

    def get(digest, degree):
        def build():
            builds.append((digest, degree))
            return f"{digest} {degree}"

        return cache.get({"library": "some", "M": degree}, digest, build, write, read)

    assert [get("a", 1).index, get("a", 1).index, get("a", 1).n_bytes] == ["a 1", "a 1", 3]
    assert [get("a", 2).index, get("b", 1).index] == ["a 2", "b 1"]
    assert builds == [("a", 1), ("a", 2), ("b", 1)]


def test_an_interrupted_build_is_not_loaded(tmp_path):
    def interrupted(_index, path):
        write("half", path)
        raise KeyboardInterrupt

    cache = IndexCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.get({"library": "some"}, "a", lambda: "whole", interrupted, read)
    assert cache.get({"library": "some"}, "a", lambda: "whole", write, read).index == "whole"
    assert cache.get({"library": "some"}, "a", lambda: "another", write, read).index == "whole"


def test_digests_see_shape_and_content():
    vectors = np.arange(12, dtype=np.float32)
    changed = vectors.copy()
    changed[5] += 1
    digests = {
        digest_of(vectors.reshape(3, 4)),
        digest_of(vectors.reshape(4, 3)),
        digest_of(changed.reshape(3, 4)),
    }
    assert len(digests) == 3


class Pretender:
    """Finds as many of the items as its effort says, and takes as long as it is told, on a clock of its own."""

    name, setup, is_graph, built = "pretender", "", False, None

    def __init__(self, clock, takes_s):
        self.clock = clock
        self.takes_s = takes_s
        self.efforts = self.curve = tuple((found,) for found in takes_s)

    def search(self, queries, k, effort):
        self.clock.append(self.clock[-1] + self.takes_s[effort[0]])
        rows = np.full((len(queries), k), -1)
        rows[:, : effort[0]] = np.arange(effort[0])
        return rows

    def label(self, effort):
        return f"effort={effort[0]}"


@pytest.fixture
def clock(monkeypatch):
    times = [0.0]
    monkeypatch.setattr(kernel_tuning, "perf_counter", lambda: times[-1])
    return times


@pytest.mark.parametrize(
    ("target", "expected", "reached"),
    [(0.5, "pretender effort=8", 0.8), (0.9, "pretender effort=9", 0.9), (1.0, "pretender effort=9", 0.9)],
)
def test_the_fastest_that_reaches_the_recall_is_chosen(clock, target, expected, reached):
    peer = Pretender(clock, {4: 0.1, 5: 0.5, 8: 0.2, 9: 0.4})
    truth = np.tile(np.arange(10), (3, 1))
    fixed, share = fastest_at_recall(peer, np.zeros((3, 2), dtype=np.float32), truth, target)
    assert fixed.name == expected
    assert share == pytest.approx(reached)


def test_the_faster_setting_is_chosen(clock):
    peers = [
        AtEffort(Pretender(clock, {1: 0.25}), (1,)),
        AtEffort(Pretender(clock, {2: 0.125}), (2,)),
    ]
    chosen, note = faster_of(peers, np.zeros((3, 2), dtype=np.float32), 2)
    assert chosen is peers[1]
    assert note == "pretender effort=1 250 ms, pretender effort=2 125 ms"
