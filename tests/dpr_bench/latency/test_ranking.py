# NumPy and faiss find what the score of docs/design.md says, in float64.
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dpr_bench.latency.numpy_ranking import FaissRanking, NumpyRanking

_ITEMS, _USER, _SIDE, _K = 3000, 6, 4, 10
_ROLES = (("toward", 0.0), ("away", -0.5), ("away", 0.25))


def _manifest(phi: str) -> Any:
    experts = tuple(SimpleNamespace(role=role, bias=bias) for role, bias in _ROLES)
    dims = SimpleNamespace(item=_USER + _SIDE, user=_USER)
    return SimpleNamespace(experts=experts, dims=dims, phi=phi, gain=3.0)


def _expected(phi: str, vectors: Any, user: Any, experts: Any, gates: Any, excluded: Any) -> Any:
    v, z, g = (array.astype(np.float64) for array in (vectors, experts, gates))
    scores = np.pad(user.astype(np.float64), ((0, 0), (0, _SIDE))) @ v.T + g[:, :1] * (z[:, 0] @ v.T)
    for e in (1, 2):
        x = z[:, e] @ v.T + _ROLES[e][1]
        scores -= g[:, e : e + 1] * (np.maximum(x, 0) if phi == "relu" else np.logaddexp(0, 3 * x) / 3)
    for row, rows in enumerate(excluded):
        scores[row, rows] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :_K]


@pytest.mark.parametrize("phi", ["relu", "softplus"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 50.0])
@pytest.mark.parametrize("batch", [1, 5])
def test_both_find_the_best_items(phi: str, strength: float, batch: int):
    rng = np.random.default_rng([batch, int(10 * strength)])

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    vectors, user, experts = draw(_ITEMS, _USER + _SIDE), draw(batch, _USER), draw(batch, 3, _USER + _SIDE)
    gates = rng.random((batch, 3), dtype=np.float32) * np.float32([1, strength, strength])
    gates[0, 1] = 0
    excluded = [rng.choice(_ITEMS, size=int(size), replace=False) for size in rng.integers(0, 40, batch)]
    expected = _expected(phi, vectors, user, experts, gates, excluded)
    for ranking in (NumpyRanking(_manifest(phi), vectors), FaissRanking(_manifest(phi), vectors)):
        np.testing.assert_array_equal(ranking.top(user, experts, gates, excluded, _K), expected)


def test_faiss_says_when_its_items_do_not_prove_the_answer(monkeypatch: pytest.MonkeyPatch):
    """All that <q, v> likes best is refused: NumPy must score the rest. Without a penalty it must not."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((_ITEMS, _USER + _SIDE), dtype=np.float32)
    user = rng.standard_normal((1, _USER), dtype=np.float32)
    experts = np.zeros((1, 3, _USER + _SIDE), dtype=np.float32)
    experts[0, 1, :_USER] = user[0]
    ranking = FaissRanking(_manifest("relu"), vectors)
    calls = []
    scored = ranking._all.top
    monkeypatch.setattr(ranking._all, "top", lambda *arguments: calls.append(1) or scored(*arguments))
    for gate, by_numpy in ((0.0, 0), (30.0, 1)):
        gates = np.float32([[0, gate, 0]])
        found = ranking.top(user, experts, gates, [np.arange(3)], _K)
        expected = _expected("relu", vectors, user, experts, gates, [np.arange(3)])
        np.testing.assert_array_equal(found, expected)
        assert len(calls) == by_numpy
