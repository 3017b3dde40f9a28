# Candidates from an HNSW index: exact scores, approximate items, and no answer shorter than it could be.

from __future__ import annotations

import shutil
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import tiny_bundle
from dpr_infer import BundleError, MissingExtraError, QueryError, Recommender
from dpr_infer.stopwatch import Stopwatch

N = 1_000
IDS = tiny_bundle.item_ids(N)
HISTORIES = [[], IDS[:3], IDS[40:60], [IDS[299]], IDS[700:702], [IDS[5]] * 2]
PROMPTS = [None, "comedy", "no war please", "drama and no comedy", None, "no action"]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny_bundle.write_tiny_bundle(tmp_path_factory.mktemp("hnsw") / "bundle", items=N, hnsw=True)


@pytest.fixture(scope="module")
def exact(path) -> Recommender:
    return Recommender(path)


@pytest.fixture(scope="module")
def narrow(path) -> Recommender:
    """So few items in view, of so thin a graph, that it must miss some."""
    return Recommender(path, index="hnsw", ef=1)


@pytest.fixture
def copied(path, tmp_path) -> Path:
    return Path(shutil.copytree(path, tmp_path / "copy"))


def start_of(recommender) -> np.ndarray:
    """The user vector of an empty history."""
    return recommender._pipeline._encoder.encode([np.empty(0, np.int64)], [None], Stopwatch()).user[0]


def recall(recommender, exact, k=5) -> float:
    got, want = (r.search_arrays(HISTORIES, PROMPTS, k)[0] for r in (recommender, exact))
    return sum(len(set(g) & set(w)) for g, w in zip(got.tolist(), want.tolist(), strict=True)) / want.size


@pytest.mark.parametrize("options", [{}, {"where": "!action"}, {"steer": "strict"}, {"exclude": IDS[::3]}])
@pytest.mark.parametrize("ef", [1, 64])
def test_scores_are_the_exact_ones_and_so_is_their_order(path, exact, ef, options):
    recommender = Recommender(path, index="hnsw", ef=ef, threads=2)
    rows, scores = recommender.search_arrays(HISTORIES, PROMPTS, 7, **options)
    all_rows, all_scores = exact.search_arrays(HISTORIES, PROMPTS, N, **options)
    for b in range(len(HISTORIES)):
        place = {row: i for i, row in enumerate(all_rows[b].tolist()) if row >= 0}
        places = [place[row] for row in rows[b].tolist()]  # a row that is not allowed would be no key
        assert places == sorted(places)
        assert scores[b].tobytes() == all_scores[b][places].tobytes()


def test_it_is_approximate_and_a_wider_view_misses_less(path, exact, narrow):
    shares = [recall(narrow, exact), recall(Recommender(path, index="hnsw", ef=100), exact)]
    assert 0 < shares[0] < shares[1] <= 1


def test_a_view_of_everything_is_the_exact_answer(path, exact):
    everything = Recommender(path, index="hnsw", ef=N)
    left, right = (r.search_arrays(HISTORIES, PROMPTS, 9) for r in (everything, exact))
    assert (left[0].tobytes(), left[1].tobytes()) == (right[0].tobytes(), right[1].tobytes())


@pytest.fixture
def asked(path, monkeypatch):
    """A recommender with a view of 8 items, and what it asks of the kernel: queries, candidates of each or None."""
    recommender = Recommender(path, index="hnsw", ef=8)
    calls = []
    search = recommender._pipeline._scorer.search

    def remember(queries, *, allowed=None):
        calls.append((len(queries.asked), None if allowed is None else [len(rows) for rows in allowed]))
        return search(queries, allowed=allowed)

    monkeypatch.setattr(recommender._pipeline._scorer, "search", remember)
    return recommender, calls


@pytest.mark.parametrize(
    "options",
    [
        {"k": 20, "where": "war & comedy & drama"},
        {"k": 20, "where": "war & comedy & drama", "steer": "strict"},
        {"k": 10, "exclude": IDS[5:]},
        {"k": N + 5},
    ],
)
def test_too_few_candidates_are_made_up_for(asked, exact, options):
    recommender, calls = asked
    rows, scores = recommender.search_arrays(HISTORIES, PROMPTS, **options)
    want_rows, want_scores = exact.search_arrays(HISTORIES, PROMPTS, **options)
    assert ((rows >= 0).sum(axis=1) == (want_rows >= 0).sum(axis=1)).all()
    short = want_rows[:, -1] < 0
    assert short.any()
    assert rows[short].tobytes() == want_rows[short].tobytes()
    assert scores[short].tobytes() == want_scores[short].tobytes()
    assert calls[-1][1] is None


def test_only_queries_that_are_short_are_scanned_in_full(asked, exact, monkeypatch):
    recommender, calls = asked
    index = recommender._pipeline._ranker._index
    propose = index.candidates

    plain, strict = 12 + 32, 4 * 12 + 32

    def forget_some(points, count):
        return [
            rows[:2] if count == strict and b == 0 else rows for b, rows in enumerate(propose(points, count))
        ]

    monkeypatch.setattr(index, "candidates", forget_some)
    prompts = [None, "no comedy", None, "no war", None, None]
    # So little strength that strictness alone keeps refused tags away.
    options = {"exclude_history": False, "steer": "strict", "strength": 0.01}
    options["exclude"] = [answer.items for answer in exact.query_batch(HISTORIES, prompts, 1, **options)]
    rows, scores = recommender.search_arrays(HISTORIES, prompts, 3, **options)
    assert calls == [(6, [plain, 2, plain, strict, plain, plain]), (1, None)]
    want_rows, want_scores = exact.search_arrays(HISTORIES, prompts, 3, **options)
    assert rows[1].tobytes() == want_rows[1].tobytes()
    assert scores[1].tobytes() == want_scores[1].tobytes()


@pytest.mark.parametrize(
    ("options", "candidates"),
    [
        ({"k": 1}, [8, 8]),
        ({"k": 10}, [40, 40]),
        ({"k": 1, "where": "war"}, [32, 32]),
        ({"k": 1, "steer": "strict"}, [32, 8]),
        ({"k": 1, "exclude": IDS[10:15]}, [40, 40]),
        ({"k": 1, "exclude": [[], IDS[10:43]]}, [8, 72]),
        ({"k": 300}, [0, 0]),
    ],
)
def test_how_many_candidates_are_taken(asked, options, candidates):
    recommender, calls = asked
    recommender.search_arrays([[], []], ["no comedy", None], **options)
    assert calls[0] == (2, candidates)


def test_a_graph_that_yields_too_few_is_made_up_for(path, exact):
    recommender = Recommender(path, index="hnsw", ef=8)
    index = recommender._pipeline._ranker._index
    real = index._index

    class Reluctant:
        """Does what hnswlib does when a query at the first user's place comes upon too few items."""

        def knn_query(self, points, **options):
            if (points == hard).all(axis=1).any():
                raise RuntimeError(
                    "Cannot return the results in a contiguous 2D array. Probably ef or M is too small"
                )
            return real.knn_query(points, **options)

    index._index = Reluctant()
    hard = np.zeros(16, np.float32)
    hard[:8] = start_of(recommender)
    rows, scores = recommender.search_arrays([[], IDS[:3]], None, 5, exclude_history=False)
    want_rows, want_scores = exact.search_arrays([[], IDS[:3]], None, 5)
    assert rows[0].tolist() == want_rows[0].tolist()
    assert scores[0].tobytes() == want_scores[0].tobytes()
    assert (rows[1] >= 0).all()

    class Broken:
        def knn_query(self, points, **options):
            raise RuntimeError("out of luck")

    index._index = Broken()
    with pytest.raises(RuntimeError, match="out of luck"):
        recommender.query([])


def test_a_query_gets_the_same_whatever_its_batch(narrow):
    excludes = [[], IDS[:100], [], IDS[:1], IDS[::2], IDS[5:80]]
    options = {"k": 3, "steer": "strict", "exclude_history": False}
    batch = narrow.query_batch(HISTORIES, PROMPTS, exclude=excludes, **options)
    for answer, history, prompt, exclude in zip(batch, HISTORIES, PROMPTS, excludes, strict=True):
        assert answer.items == narrow.query(history, prompt, exclude=exclude, **options).items


def test_overflow_is_told_as_by_the_exact_search(narrow, monkeypatch):
    def fail(*_):
        raise AssertionError("hnswlib was handed what is not finite")

    monkeypatch.setattr(narrow._pipeline._ranker._index, "candidates", fail)
    with pytest.raises(QueryError, match="cannot be scored"):
        narrow.query(IDS[:1], "comedy", strength=3e38)


def test_strength_moves_the_candidates_like_the_scores(narrow):
    plain = narrow.search_arrays(HISTORIES, None, 5)
    without = narrow.search_arrays(HISTORIES, "comedy", 5, strength=0.0)
    assert (without[0].tobytes(), without[1].tobytes()) == (plain[0].tobytes(), plain[1].tobytes())


def test_prompts_move_the_candidates(path):
    """At this strength the best items are nowhere near the plain ones, so a plain search would miss them."""
    recommender = Recommender(path, index="hnsw", ef=32)
    for answer in recommender.query_batch(HISTORIES, "comedy", 5, strength=5.0):
        assert all("Comedy" in tags for tags in answer.tags)


def test_several_threads_at_once(narrow):
    cases = list(zip(HISTORIES, PROMPTS, strict=True)) * 4
    expected = [narrow.query(*case).items for case in cases]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda case: narrow.query(*case).items, cases)) == expected


def test_added_items_are_candidates_and_removed_ones_are_not(path):
    recommender = Recommender(path, index="hnsw", ef=4)
    best = recommender.query([], k=1).items
    vector = np.zeros((1, 16), np.float32)
    vector[0, :8] = 100 * start_of(recommender)
    (row,) = recommender.add_items(["new"], vectors=vector)
    assert row == N
    answer = recommender.query([], k=3)
    assert answer.items[:2] == ["new", *best]
    recommender.remove_items(["new", *best])
    assert not {"new", *best} & set(recommender.query([], k=5).items)
    recommender.compact()
    assert not {"new", *best} & set(recommender.query([], k=5).items)


@pytest.mark.parametrize("given_up", [False, True])
def test_added_items_do_not_stand_in_for_those_that_the_index_does_not_propose(path, monkeypatch, given_up):
    """As many are wanted as there are items, or the graph yields too few: the whole catalogue is searched."""
    recommender, live = Recommender(path, index="hnsw", ef=4 if given_up else N), Recommender(path)
    if given_up:
        nothing = np.empty(0, np.int64)
        monkeypatch.setattr(
            recommender._pipeline._ranker._index, "candidates", lambda points, count: [nothing] * len(points)
        )
    for each in (recommender, live):
        each.add_items([f"new {n}" for n in range(20)], tags=[["War"]] * 20)
    got, want = (r.search_arrays(HISTORIES, PROMPTS, 7) for r in (recommender, live))
    assert [array.tobytes() for array in got] == [array.tobytes() for array in want]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": "flat"}, 'index must be "exact" or "hnsw"; got \'flat\''),
        ({"index": None}, "index must be"),
        ({"index": "hnsw", "ef": 0}, "ef must be an int >= 1; got 0"),
        ({"index": "hnsw", "ef": 1.5}, "ef must be an int >= 1; got 1.5"),
    ],
)
def test_wrong_options(path, options, message):
    with pytest.raises(QueryError, match=message):
        Recommender(path, **options)


def test_a_bundle_without_the_index(bundle_path):
    with pytest.raises(
        BundleError, match=r"^index\.hnsw must be in a bundle for index='hnsw'; this one has none"
    ):
        Recommender(bundle_path, index="hnsw")


def test_without_the_package(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    Recommender(path).query([])
    with pytest.raises(MissingExtraError, match=r"needs hnswlib; install dpr-infer\[hnsw\]"):
        Recommender(path, index="hnsw")


def test_its_checksum_is_compared_whatever_its_size(tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "large", items=12_000, hnsw=True)
    file = folder / "index.hnsw"
    assert file.stat().st_size > 2**20
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    Recommender(folder)  # never opens it
    with pytest.raises(BundleError, match=r"^index\.hnsw must have the SHA-256"):
        Recommender(folder, index="hnsw")
    with pytest.raises(BundleError, match=r"^index\.hnsw must have the SHA-256"):
        Recommender(folder, verify="full")


HEADER = struct.Struct("<6QiI3QdQ")


def _rewritten(folder: Path, place: int, value: int) -> bytes:
    content = (folder / "index.hnsw").read_bytes()
    fields = list(HEADER.unpack(content[: HEADER.size]))
    fields[place] = value
    return HEADER.pack(*fields) + content[HEADER.size :]


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5, 7, 8, 9, 10])
@pytest.mark.parametrize("value", [N + 1, 2**31])
def test_a_header_of_another_index_is_refused(copied, place, value):
    content = _rewritten(copied, place, value)
    (copied / "index.hnsw").write_bytes(content)
    tiny_bundle.reseal(copied)
    Recommender(copied)
    with pytest.raises(
        BundleError, match=r"^index\.hnsw must be an index of 1000 items of 16 dimensions with M = 2"
    ):
        Recommender(copied, index="hnsw")


@pytest.mark.parametrize("keep", [0, 50, 96, 5_000, -1])
def test_a_truncated_index_is_refused(copied, keep):
    content = (copied / "index.hnsw").read_bytes()
    (copied / "index.hnsw").write_bytes(content[:keep])
    tiny_bundle.reseal(copied)
    with pytest.raises(BundleError, match=r"^index\.hnsw must "):
        Recommender(copied, index="hnsw")


def test_an_index_of_other_vectors(copied):
    vectors = load_file(copied / "catalogue.safetensors")["vectors"]
    for other in (vectors[:-1], vectors[:, :-1].copy()):
        tiny_bundle.write_tiny_hnsw(copied / "index.hnsw", other)
        tiny_bundle.reseal(copied)
        with pytest.raises(
            BundleError, match=r"^index\.hnsw must (be an index of|hold) 1000 items of 16 dimensions"
        ):
            Recommender(copied, index="hnsw")
    labels = np.arange(N) + 1
    tiny_bundle.write_tiny_hnsw(copied / "index.hnsw", vectors, labels)
    tiny_bundle.reseal(copied)
    with pytest.raises(BundleError, match=r"^index\.hnsw must label its items with the rows 0 to 999"):
        Recommender(copied, index="hnsw")


def test_key_and_file_go_together(copied, bundle_path, tmp_path):
    hnsw = Recommender(copied).manifest.hnsw
    assert (hnsw.m, hnsw.ef_construction, hnsw.recall[0].recall) == (2, 8, 0.875)
    tiny_bundle.edit_manifest(copied, lambda m: m.pop("hnsw"))
    with pytest.raises(
        BundleError, match=r"'hnsw' exactly if it lists index\.hnsw; it lists index\.hnsw alone"
    ):
        Recommender(copied)
    other = Path(shutil.copytree(bundle_path, tmp_path / "other"))
    tiny_bundle.edit_manifest(other, lambda m: m.update(hnsw={}))
    with pytest.raises(BundleError, match=r"'hnsw' exactly if it lists index\.hnsw; it has the key alone"):
        Recommender(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(m=1), "m must be an integer from 2 to 10000"),
        (lambda h: h.update(m=3), "must be an index of 1000 items of 16 dimensions with M = 3"),
        (lambda h: h.update(ef_construction=0), "ef_construction must be an integer from 1"),
        (lambda h: h.pop("recall"), "must have the key 'recall'"),
        (
            lambda h: h["recall"][0].update(recall=1.1),
            r"recall\[0\]: recall must be a finite number from 0.0 to 1.0",
        ),
        (lambda h: h["recall"][0].update(k=0), "k must be an integer from 1"),
        (lambda h: h["recall"][0].update(queries="odd"), "queries must be one of 'plain', 'steered'"),
        (lambda h: h["measured_on"].update(drawn=-1), "drawn must be an integer from 0"),
        (lambda h: h["measured_on"].update(prompts=[3]), r"prompts\[0\] must be a string"),
    ],
)
def test_what_the_manifest_says_of_it(copied, change, message):
    tiny_bundle.edit_manifest(copied, lambda m: change(m["hnsw"]))
    with pytest.raises(BundleError, match=message):
        Recommender(copied, index="hnsw")
