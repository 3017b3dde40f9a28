# Softplus, seen through one-dimensional items: the score of x against an away expert 1 is -softplus(x).
import numpy as np
import pytest

from dpr_infer._core import Catalogue, ScoreRule

GAINS = [1e-30, 1e-3, 0.3, 1.0, 3.0, 10.0, 1e4, 3e38]
LARGEST = np.finfo(np.float32).max


def softplus(x: np.ndarray, gain: float) -> np.ndarray:
    one = np.ones((1, 1), np.float32)
    rule = ScoreRule(roles=["away"], biases=[0.0], phi="softplus", gain=gain)
    catalogue = Catalogue(np.asarray(x, np.float32).reshape(-1, 1))
    scores = catalogue.reference_scores(one * 0, one[:, :, None], one, rule=rule, strength=one[0])[0]
    return np.float32(0) - scores


def neighbours(centre: float, count: int = 20000) -> np.ndarray:
    """Return consecutive float32, ascending, around `centre`, across 0 if need be."""
    # Ordering of floats as integers: negative ones count down from 0.
    bits = int(np.float32(abs(centre)).view(np.int32)) * (-1 if centre < 0 else 1)
    keys = np.arange(bits - count, bits + count + 1, dtype=np.int64)
    magnitudes = np.minimum(np.abs(keys), int(LARGEST.view(np.int32))).astype(np.int32).view(np.float32)
    return np.where(keys < 0, -magnitudes, magnitudes)


@pytest.mark.parametrize("gain", GAINS)
def test_within_the_stated_error_of_float64(gain: float) -> None:
    rng = np.random.default_rng(0)
    gain = float(np.float32(gain))
    t = np.concatenate(
        [rng.uniform(-120, 60, 20000), rng.normal(size=20000), rng.uniform(-0.03, 0.03, 20000)]
    )
    with np.errstate(over="ignore"):
        x = (t / gain).astype(np.float32)
    x = x[np.isfinite(x)]
    exact = np.logaddexp(0, gain * x.astype(np.float64)) / gain
    error = np.abs(softplus(x, gain).astype(np.float64) - exact)
    assert (error <= 2.0**-24 * (1 + 1e-6) * exact + 2.0**-150).all()


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("t", [0.0, 2**-30, 2**-20, 2**-6, 0.5, 1.0, 40.0, 100.0, 700.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_never_decreases_between_neighbouring_floats(gain: float, t: float, sign: int) -> None:
    values = softplus(neighbours(sign * t / gain), gain)
    assert (np.diff(values) >= 0).all()


# Of all gains in [1, 2), some whose softplus(0) = ln(2) / gain is next to a midpoint of two float32. Near 0
# the function crosses it in steps below the resolution of float64, where an evaluation error would show.
@pytest.mark.parametrize(
    "gain", ["0x1.26f0eap+0", "0x1.17d0dep+0", "0x1.b0ea04p+0", "0x1.59b05p+0", "0x1.2649acp+0"]
)
def test_never_decreases_where_steps_are_below_the_evaluation_error(gain: str) -> None:
    slope = float.fromhex(gain)
    values = softplus(np.linspace(-2e-13, 2e-13, 400001) / slope, slope)
    assert (np.diff(values) >= 0).all()
    assert len(np.unique(values)) == 2


@pytest.mark.parametrize("gain", GAINS)
def test_never_decreases_over_the_whole_range(gain: float) -> None:
    keys = np.linspace(-int(LARGEST.view(np.int32)), int(LARGEST.view(np.int32)), 100001).astype(np.int64)
    x = np.sign(keys) * np.abs(keys).astype(np.int32).view(np.float32)
    values = softplus(x, gain)
    assert (np.diff(values) >= 0).all()
    assert (values >= np.maximum(x, 0)).all()
    assert np.isfinite(values).all()


@pytest.mark.parametrize("gain", GAINS)
def test_limits(gain: float) -> None:
    low, high = softplus(np.array([-LARGEST, LARGEST]), gain)
    assert low == 0
    assert high == LARGEST
    assert softplus(np.zeros(1), gain)[0] == np.float32(np.log(2) / float(np.float32(gain)))


def test_bits_that_must_not_change() -> None:
    # Correctly rounded values, computed with 60 digits.
    x = np.array([-80, -10.5, -1, -0.01, 1e-3, 0.7, 3, 17.25, 39.9], np.float32)
    golden = {
        1.0: [
            "0x1.7fd9740000000p-116",
            "0x1.cdfa860000000p-16",
            "0x1.40c7ac0000000p-2",
            "0x1.6056780000000p-1",
            "0x1.6325be0000000p-1",
            "0x1.1a6a660000000p+0",
            "0x1.86381c0000000p+1",
            "0x1.1400000000000p+4",
            "0x1.3f33340000000p+5",
        ],
        3.0: [
            "0x0.0p+0",
            "0x1.f5835e0000000p-48",
            "0x1.095a0a0000000p-6",
            "0x1.cf06780000000p-3",
            "0x1.da36980000000p-3",
            "0x1.7a1d860000000p-1",
            "0x1.80015a0000000p+1",
            "0x1.1400000000000p+4",
            "0x1.3f33340000000p+5",
        ],
    }
    for gain, expected in golden.items():
        assert [value.hex() for value in softplus(x, gain).astype(float).tolist()] == expected
