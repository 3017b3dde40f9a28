# The made-up and the real vectors of the kernel's benchmarks are what the results say they are.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dpr_bench import kernel_data, kernel_real
from dpr_bench.kernel_data import clustered, half_of, iid
from dpr_bench.kernel_question import Question
from dpr_bench.kernel_real import real_data, repeated
from dpr_bench.kernel_reference import Reference
from dpr_infer import Recommender
from tiny_bundle import write_tiny_bundle


@pytest.fixture
def small_chunks(monkeypatch):
    """Several chunks, the last one short."""
    monkeypatch.setattr(kernel_data, "_CHUNK", 700)


def test_clustered_items_keep_their_cosine_and_their_norms(small_chunks):
    data = clustered(3000, 24, n_clusters=16)
    cosines = data.vectors @ data.centres.T / np.linalg.norm(data.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(cosines - 0.7).min(axis=1), 0, atol=1e-5)
    assert np.mean(np.abs(cosines.max(axis=1) - 0.7) < 1e-5) > 0.99, "their own centre is the nearest"
    logs = np.log(np.linalg.norm(data.vectors, axis=1))
    assert abs(logs.mean()) < 4 * 0.3 / np.sqrt(3000)
    assert abs(logs.std() - 0.3) < 4 * 0.3 / np.sqrt(2 * 3000)
    np.testing.assert_allclose(np.linalg.norm(data.centres, axis=1), 1, rtol=1e-6)
    assert data.vectors.dtype == np.float32
    assert data.vectors.flags.c_contiguous
    assert data.parts == (24,)


def test_clustered_queries_know_their_cluster():
    data = clustered(10, 24, n_queries=50, n_tuning=20, n_clusters=16)
    cosines = data.queries @ data.centres.T / np.linalg.norm(data.queries, axis=1, keepdims=True)
    np.testing.assert_array_equal(cosines.argmax(axis=1), data.query_clusters)
    assert (len(data.queries), len(data.tuning)) == (50, 20)
    assert not np.isin(data.tuning[:, 0], data.queries[:, 0]).any()


@pytest.mark.parametrize("make", [clustered, iid])
def test_equal_seeds_give_equal_data_and_chunks_differ(make, small_chunks):
    one, same, other = make(1500, 8), make(1500, 8), make(1500, 8, seed=1)
    np.testing.assert_array_equal(one.vectors, same.vectors)
    np.testing.assert_array_equal(one.queries, same.queries)
    assert len(np.unique(one.vectors, axis=0)) == 1500
    assert not np.isin(other.vectors[:, 0], one.vectors[:, 0]).any()


def test_iid_numbers_are_standard_normal():
    data = iid(4000, 16)
    assert abs(data.vectors.mean()) < 4 / np.sqrt(64_000)
    assert abs(data.vectors.std() - 1) < 4 / np.sqrt(2 * 64_000)
    assert data.centres is None


def test_half_is_half_and_not_the_first_one():
    chosen = half_of(1001)
    assert chosen.sum() == 500
    assert 150 < chosen[:500].sum() < 350


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def test_real_queries_are_those_of_the_recommender(bundle, monkeypatch):
    """Whatever histories and prompts were drawn, plain ones must be among what `Recommender` ranks by."""
    monkeypatch.setattr(kernel_real, "_prompts", lambda tags: [f"something with {tags[1].lower()} please"])
    monkeypatch.setattr(kernel_real, "_SHORTEST_HISTORY", 1000)  # beginnings are whole histories
    data = real_data(bundle, n_queries=12, n_tuning=4)
    assert data.vectors.shape == (40, 16)
    assert data.parts == (8, 8)
    assert (len(data.queries), len(data.tuning)) == (12, 4)
    assert (data.steering.away.shape, data.steering.biases) == ((12, 1, 16), (-0.125,))
    asked = Question(
        queries=data.queries,
        k=5,
        away=data.steering.away,
        gates=data.steering.gates,
        biases=data.steering.biases,
        phi=data.steering.phi,
        gain=data.steering.gain,
    )
    _, scores = Reference(data.vectors).answer(asked)
    recommender = Recommender(bundle)
    answers = [
        recommender.query(history, "something with comedy please", k=5, exclude_history=False).scores
        for history in recommender.examples.values()
    ]
    gaps = np.abs(scores[:, None] - np.array(answers)).max(axis=2)  # (12, histories)
    assert np.all(gaps.min(axis=1) < 1e-4), "every query is some example's"
    assert set(gaps.argmin(axis=1).tolist()) == {0, 1, 2}


def test_repeated_vectors_carry_as_much_noise_as_said(bundle):
    data = real_data(bundle, n_queries=2, n_tuning=2)
    more = repeated(data, 4000, 0.3)
    np.testing.assert_array_equal(more.vectors[:40], data.vectors)
    source = data.vectors[np.arange(40, 4000) % 40]
    for part in (slice(0, 8), slice(8, 16)):
        lengths = np.linalg.norm(source[:, part], axis=1)
        added = np.linalg.norm(more.vectors[40:, part] - source[:, part], axis=1)
        assert np.all(added[lengths == 0] == 0)
        ratio = np.sqrt(np.mean((added[lengths > 0] / lengths[lengths > 0]) ** 2))
        assert abs(ratio - 0.3) < 0.01
    assert more.name.endswith("noise 0.3")


def test_fewer_repeated_vectors_than_there_are_are_the_first(bundle):
    data = real_data(bundle, n_queries=2, n_tuning=2)
    np.testing.assert_array_equal(repeated(data, 10, 1.0).vectors, data.vectors[:10])


def test_a_bundle_without_examples_is_refused(tmp_path):
    empty = write_tiny_bundle(tmp_path / "tiny", examples=0)
    with pytest.raises(ValueError, match="must have example histories"):
        real_data(empty)
