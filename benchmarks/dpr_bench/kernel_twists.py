# What a question can ask beyond inner products: penalties, a trained model's away experts, a filter.
"""Turn plain questions into those with a penalty or a filter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_data import Data
from dpr_bench.kernel_question import Question

__all__ = ["twisted"]

F32 = npt.NDArray[np.float32]

_GAIN = {"relu": 1.0, "softplus": 3.0}


def twisted(plain: Question, twist: str, data: Data, *, seed: int = 0) -> Question:
    """Add to a question what a goal asks for.

    Parameters
    ----------
    plain : Question
        The first B queries of `data`.
    twist : str
        "" for nothing, "half" for the filter, "steering" for the data's away experts; or phi, a blank, and "ordinary"
        (away from the centre of another cluster, at random) or "own" (away from the centre of the query's own
        cluster), with the centre as long as the median item, gate 1 and bias 0.
    data : Data
        Where the queries come from.
    seed : int
        Of the choice of other clusters.

    Returns
    -------
    Question
        With the same queries and k.

    Raises
    ------
    ValueError
        If the twist is unknown, or the data do not have what it needs.
    """
    if not twist:
        return plain
    if twist == "half":
        return replace(plain, half=True)
    if twist == "steering":
        return _steering(plain, data)
    phi, _, whom = twist.partition(" ")
    if phi not in _GAIN or whom not in ("ordinary", "own"):
        raise ValueError(f'twist must be "half", "steering", or phi with "ordinary" or "own"; got {twist!r}')
    return replace(
        plain,
        away=_centres(data, len(plain.queries), own=whom == "own", seed=seed)[:, None],
        gates=np.ones((len(plain.queries), 1), dtype=np.float32),
        biases=(0.0,),
        phi=phi,
        gain=_GAIN[phi],
    )


def _steering(plain: Question, data: Data) -> Question:
    known = data.steering
    if known is None:
        raise ValueError(f"steering needs data of a trained model; got {data.name}")
    count = len(plain.queries)
    return replace(
        plain,
        away=known.away[:count],
        gates=known.gates[:count],
        biases=known.biases,
        phi=known.phi,
        gain=known.gain,
    )


def _centres(data: Data, count: int, *, own: bool, seed: int) -> F32:
    """A cluster's centre for each query, as long as the median item, float32 (B, D)."""
    if data.centres is None or data.query_clusters is None:
        raise ValueError(f"penalties on clusters need clustered data; got {data.name}")
    n_clusters = len(data.centres)
    chosen = data.query_clusters[:count]
    if not own:
        chosen = (chosen + np.random.default_rng([seed, 6]).integers(1, n_clusters, count)) % n_clusters
    length = np.median(np.linalg.norm(data.vectors, axis=1))
    return np.ascontiguousarray(data.centres[chosen] * length, dtype=np.float32)
