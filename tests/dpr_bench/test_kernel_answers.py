# What counts as right: the comparison of answers, recall, and the reference that everything is held against.

from __future__ import annotations

import numpy as np
import pytest

from dpr_bench.kernel_data import clustered, half_of
from dpr_bench.kernel_question import Question, different, recall, same_order
from dpr_bench.kernel_reference import Reference, best_of_scores
from dpr_bench.kernel_twists import twisted


def answer(rows, scores):
    return np.array(rows, dtype=np.int64), np.array(scores, dtype=np.float32)


def test_only_bits_count():
    one = answer([[3, 1], [0, 2]], [[2, 1], [0.0, -1]])
    assert different(one, answer([[3, 1], [0, 2]], [[2, 1], [0.0, -1]])) == 0
    assert different(one, answer([[3, 1], [0, 2]], [[2, 1], [-0.0, -1]])) == 1
    assert different(one, answer([[1, 3], [2, 0]], [[2, 1], [0.0, -1]])) == 2
    assert different(one, answer([[3, 1], [0, 2]], [[2, np.nextafter(1, 2, dtype="f")], [0.0, -1]])) == 1


def test_answers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        different(answer([[3]], [[2]]), answer([[3, 1]], [[2, 1]]))


def test_recall_and_order():
    expected = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert recall(expected.astype(np.uint32), expected) == 1
    assert recall(np.array([[4, 3, 9, -1], [5, 6, 7, 8]]), expected) == 6 / 8
    assert same_order(np.array([[1, 2, 4, 3], [5, 6, 7, 8]]), expected) == 0.5


def test_questions_split_into_calls():
    question = Question(
        queries=np.arange(14, dtype=np.float32).reshape(7, 2),
        k=3,
        away=np.arange(14, dtype=np.float32).reshape(7, 1, 2),
        gates=np.arange(7, dtype=np.float32)[:, None],
        biases=(0.0,),
    )
    parts = list(question.split(3))
    assert [len(part.queries) for part in parts] == [3, 3]
    np.testing.assert_array_equal(parts[1].queries, question.queries[3:6])
    np.testing.assert_array_equal(parts[1].away, question.away[3:6])
    np.testing.assert_array_equal(parts[1].gates[:, 0], [3, 4, 5])
    assert parts[1].k == 3


def test_ties_go_to_the_lower_row():
    scores = np.array([[1, 3, 3, 2, 3], [0, 0, 0, 0, 0]], dtype=np.float32)
    rows, best = best_of_scores(scores, 2)
    assert rows.tolist() == [[1, 2], [0, 1]]
    assert best.tolist() == [[3, 3], [0, 0]]


@pytest.mark.parametrize(
    "twist", ["", "half", "relu ordinary", "softplus ordinary", "relu own", "softplus own"]
)
def test_the_reference_ranks_as_float64_does(twist):
    data = clustered(500, 12, n_queries=40, n_clusters=8)
    half = half_of(500)
    question = twisted(Question(queries=data.queries, k=5), twist, data)
    rows, scores = Reference(data.vectors, half).answer(question, batch=16)
    exact = data.queries.astype(np.float64) @ data.vectors.T.astype(np.float64)
    if question.away is not None:
        x = question.away[:, 0].astype(np.float64) @ data.vectors.T
        exact -= np.maximum(x, 0) if question.phi == "relu" else np.logaddexp(0, 3 * x) / 3
    if twist == "half":
        exact[:, ~half] = -np.inf
    assert rows.shape == (40, 5)
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :5], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, axis=1), scores, rtol=1e-4, atol=1e-5)


def test_a_scan_that_differs_from_the_scalar_scores_is_no_reference(monkeypatch):
    data = clustered(100, 8, n_queries=8, n_clusters=4)
    reference = Reference(data.vectors)
    scalar = reference._scalar
    monkeypatch.setattr(reference, "_scalar", lambda question: (scalar(question)[0] + 1, scalar(question)[1]))
    with pytest.raises(ValueError, match="4 of 4 queries differ"):
        reference.answer(Question(queries=data.queries, k=3))


def test_penalties_point_where_they_say():
    data = clustered(200, 12, n_queries=30, n_clusters=8)
    plain = Question(queries=data.queries, k=5)
    length = np.median(np.linalg.norm(data.vectors, axis=1))
    own = twisted(plain, "softplus own", data)
    other = twisted(plain, "relu ordinary", data)
    np.testing.assert_allclose(own.away[:, 0], data.centres[data.query_clusters] * length, rtol=1e-5)
    assert (own.phi, own.gain, own.biases) == ("softplus", 3.0, (0.0,))
    assert np.all(own.gates == 1)
    assert not np.any(np.all(np.isclose(other.away, own.away), axis=(1, 2))), "ordinary: another cluster"
    cosines = other.away[:, 0] @ data.centres.T / length
    np.testing.assert_allclose(cosines.max(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("twist", ["tanh own", "relu", "steering", "quarter"])
def test_an_unknown_twist_is_refused(twist):
    data = clustered(50, 8, n_queries=4)
    with pytest.raises(ValueError, match="got"):
        twisted(Question(queries=data.queries, k=5), twist, data)
