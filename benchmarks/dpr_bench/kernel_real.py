# Vectors and queries of a trained model: a bundle's items, and what its engines make of histories and prompts.
"""Real vectors and queries for the kernel's benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpr_bench.kernel_data import Data, Steering
from dpr_infer.bundle import Bundle, open_bundle
from dpr_infer.engines.choice import EngineChoice
from dpr_infer.manifest import Manifest
from dpr_infer.query_encoder import EncodedQueries, QueryEncoder
from dpr_infer.stopwatch import Stopwatch

__all__ = ["NOISE_LEVELS", "real_data", "repeated", "steered"]

F32 = npt.NDArray[np.float32]

NOISE_LEVELS = (0.1, 0.3, 1.0)  # length of the noise over length of the vector, part by part
_SHORTEST_HISTORY = 5
_ENCODED_AT_ONCE = 64
_CHUNK = 1 << 18


def real_data(bundle: Path, *, n_queries: int = 512, n_tuning: int = 512, seed: int = 0) -> Data:
    """Take the items of a bundle, and queries steered by prompts.

    Histories are beginnings of the bundle's examples, prompts are made from its tags.

    Parameters
    ----------
    bundle : Path
        Bundle folder; it must have examples and tags.
    n_queries, n_tuning : int
        Q and T.
    seed : int
        Of the choice of histories and prompts.

    Returns
    -------
    Data
        The bundle's own vectors; `repeated` makes more of them. ``steering`` holds the away experts.

    Raises
    ------
    ValueError
        If the bundle has no example or no tag.
    BundleError
        If it cannot be opened.
    """
    opened = open_bundle(bundle)
    if not opened.examples or not opened.manifest.tags:
        raise ValueError(f"{bundle} must have example histories and tags, to make queries from; it has none")
    encoded = _encode(opened, n_queries + n_tuning, np.random.default_rng([seed, 4]))
    manifest = opened.manifest
    asked = steered(manifest, encoded)
    away = [e for e, expert in enumerate(manifest.experts) if expert.role == "away"]
    return Data(
        name=f"real ({bundle.name})",
        vectors=np.array(opened.catalogue.vectors, dtype=np.float32, order="C"),
        queries=asked[:n_queries],
        tuning=asked[n_queries:],
        parts=tuple(width for width in (manifest.dims.user, manifest.dims.side) if width),
        steering=Steering(
            away=np.ascontiguousarray(encoded.experts[:n_queries, away]),
            gates=np.ascontiguousarray(encoded.gates[:n_queries, away]),
            biases=tuple(manifest.experts[e].bias for e in away),
            phi=manifest.phi,
            gain=manifest.gain,
        ),
    )


def repeated(data: Data, n_items: int, noise: float, *, seed: int = 0) -> Data:
    """Make a larger catalogue of the same vectors, repeated with noise.

    Parameters
    ----------
    data : Data
        Where the vectors come from; its queries are kept.
    n_items : int
        N. The first rows are the vectors as they are.
    noise : float
        Expected length of what is added to each part of a vector, over that part's length.
    seed : int
        Of the noise.

    Returns
    -------
    Data
        With N vectors.
    """
    source = data.vectors
    vectors = np.empty((n_items, data.dim), dtype=np.float32)
    kept = min(n_items, len(source))
    vectors[:kept] = source[:kept]
    for number, start in enumerate(range(kept, n_items, _CHUNK)):
        rows = np.arange(start, min(start + _CHUNK, n_items))
        made = source[rows % len(source)]
        stream = np.random.default_rng([seed, 5, number])
        added = stream.standard_normal(made.shape, dtype=np.float32)
        for part in _slices(data.parts):
            lengths = np.linalg.norm(made[:, part], axis=1, keepdims=True)
            added[:, part] *= noise * lengths / np.sqrt(part.stop - part.start)
        vectors[rows] = made + added
    return replace(data, name=f"{data.name}, noise {noise}", vectors=vectors)


def steered(manifest: Manifest, encoded: EncodedQueries) -> F32:
    """Gate the experts that move the query, as docs/design.md defines it (up to rounding).

    Parameters
    ----------
    manifest : Manifest
        Of the bundle.
    encoded : EncodedQueries
        B queries.

    Returns
    -------
    ndarray of float32, shape (B, D)
        The queries q.
    """
    queries = np.zeros((len(encoded.user), manifest.dims.item), dtype=np.float32)
    queries[:, : manifest.dims.user] = encoded.user
    for e, expert in enumerate(manifest.experts):
        if expert.role == "toward":
            queries += encoded.gates[:, e : e + 1] * encoded.experts[:, e]
    return queries


def _encode(bundle: Bundle, count: int, rng: np.random.Generator) -> EncodedQueries:
    encoder = QueryEncoder(
        bundle, choice=EngineChoice(threads=1), prompt_cache_size=8 * len(bundle.manifest.tags)
    )
    histories = [_beginning(bundle, rng) for _ in range(count)]
    prompts = _prompts(bundle.manifest.tags)
    watch = Stopwatch()
    readings = [encoder.reader.read(prompts[i], watch)[0] for i in rng.integers(0, len(prompts), count)]
    blocks = [
        encoder.encode(histories[at : at + _ENCODED_AT_ONCE], readings[at : at + _ENCODED_AT_ONCE], watch)
        for at in range(0, count, _ENCODED_AT_ONCE)
    ]
    return EncodedQueries(*(np.concatenate(arrays) for arrays in zip(*blocks, strict=True)))


def _beginning(bundle: Bundle, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Rows of an example's first items: the same user, earlier."""
    histories = list(bundle.examples.values())
    history = histories[int(rng.integers(len(histories)))]
    shortest = min(_SHORTEST_HISTORY, len(history))
    beginning = history[: int(rng.integers(shortest, len(history) + 1))]
    return np.array([bundle.items.row_of[item] for item in beginning])


def _prompts(tags: Sequence[str]) -> list[str]:
    """Wishes, refusals, and both in one sentence."""
    low = [tag.lower() for tag in tags]
    turned = low[1:] + low[:1]
    both = [f"{tag}, but no {other}" for tag, other in zip(low, turned, strict=True)]
    return [f"something with {tag}, please" for tag in low] + [f"no {tag} tonight" for tag in low] + both


def _slices(parts: Sequence[int]) -> list[slice]:
    ends = np.cumsum(parts).tolist()
    return [slice(end - width, end) for end, width in zip(ends, parts, strict=True)]
