# The scalar reference against float64, within bounds that are derived, not guessed.
import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue

UNIT = 2.0**-24
FLOAT64_SLACK = 1 + 1e-9  # float64's own rounding, some 1e-13 relatively


def gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def roundings_of_dot(dim: int) -> int:
    return -(-dim // 16) + 4


@pytest.mark.parametrize("dim", [1, 3, 16, 17, 64, 96, 100, 128, 1000])
@pytest.mark.parametrize("spread", [0, 3])
def test_dot_products(dim: int, spread: int) -> None:
    rng = np.random.default_rng(dim)
    vectors = (rng.normal(size=(300, dim)) * 10.0 ** rng.uniform(-spread, spread, (300, dim))).astype(
        np.float32
    )
    user = rng.normal(size=(3, dim)).astype(np.float32)
    scores = oracle.plain_queries(user).reference(Catalogue(vectors))
    wide_user, wide_vectors = user.astype(np.float64), vectors.astype(np.float64)
    error = np.abs(scores - wide_user @ wide_vectors.T)
    bound = gamma(roundings_of_dot(dim)) * (np.abs(wide_user) @ np.abs(wide_vectors).T)
    assert (error <= bound * FLOAT64_SLACK).all()


def exact_phi(x: np.ndarray, phi: str, gain: float) -> np.ndarray:
    return np.maximum(x, 0) if phi == "relu" else np.logaddexp(0, gain * x) / gain


def exact_scores_and_bound(
    queries: oracle.Queries, query: int, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 scores (N,) and a bound (N,) on the error of the canonical ones.

    With T toward and M away experts, n roundings in a dot product, and
    gamma(i) + gamma(j) + gamma(i) gamma(j) <= gamma(i + j) (Higham, 2nd ed., lemma 3.3):

    * q: T fused multiply-adds and one more, so an error of gamma(T + 1) Q with
      Q = |base| + strength sum g |z|, and <q, v> one of gamma(n + T + 1) <Q, |v|>.
    * x = <z, v> + b: an error e = gamma(n + 1) (<|z|, |v|> + |b|). Phi is 1-Lipschitz, and softplus is
      rounded with less than 2 u relatively, so phi is off by e + gamma(2) (phi + e).
    * The product with the gate, at most M additions, the product with strength and the last subtraction are
      M + 3 roundings more, on top of the two of phi: gamma(M + 5). The subtraction also rounds <q, v>:
      gamma(n + T + 2).
    """
    rule, dim = queries.rule, vectors.shape[1]
    strength, gates = float(queries.strength[query]), queries.gates[query].astype(np.float64)
    experts = queries.experts[query].astype(np.float64)
    n, wide = roundings_of_dot(dim), vectors.astype(np.float64)
    toward = [e for e in range(rule.n_experts) if rule.roles[e] == "toward"]
    away = [e for e in range(rule.n_experts) if rule.roles[e] == "away"]

    base = np.zeros(dim)
    base[: queries.user.shape[1]] = queries.user[query]
    q = base + strength * gates[toward] @ experts[toward]
    size_of_q = np.abs(base) + strength * gates[toward] @ np.abs(experts[toward])
    scores = wide @ q
    bound = gamma(n + len(toward) + 2) * (np.abs(wide) @ size_of_q)
    for e in away:
        x = wide @ experts[e] + rule.biases[e]
        x_error = gamma(n + 1) * (np.abs(wide) @ np.abs(experts[e]) + abs(rule.biases[e]))
        phi = exact_phi(x, rule.phi, rule.gain)
        scores = scores - strength * gates[e] * phi
        bound = bound + strength * gates[e] * (x_error + gamma(len(away) + 5) * (phi + x_error))
    return scores, bound


@pytest.mark.parametrize("phi", ["relu", "softplus"])
@pytest.mark.parametrize("dim", [3, 16, 96, 100])
@pytest.mark.parametrize("n_toward", [0, 1, 3])
@pytest.mark.parametrize("n_away", [0, 1, 3])
def test_steered_scores(phi: str, dim: int, n_toward: int, n_away: int) -> None:
    rng = np.random.default_rng(dim + 10 * n_toward + n_away)
    rule = oracle.random_rule(rng, n_toward, n_away, phi)
    queries = oracle.random_queries(rng, 4, dim, rule, user_dim=dim - 1)
    vectors = rng.normal(size=(200, dim)).astype(np.float32)
    scores = queries.reference(Catalogue(vectors))
    for query in range(4):
        exact, bound = exact_scores_and_bound(queries, query, vectors)
        assert (np.abs(scores[query] - exact) <= bound * FLOAT64_SLACK).all()
