# index.hnsw: built with hnswlib, then measured through the runtime, as its users will search it.
"""The optional approximate index of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_export.sample_histories import sample_histories
from dpr_infer import Recommender
from dpr_infer._optional import import_hnswlib
from dpr_infer.manifest_index import HNSW_FILE

__all__ = ["HnswSettings", "measure_recall", "write_hnsw"]

_SEED = 100
_HISTORIES = 64
_KS = (10, 100)
_EFS = (32, 64, 128, 256)


@dataclass(frozen=True, kw_only=True)
class HnswSettings:
    """How the graph is built: links an item has (M), and items kept in view while building it."""

    m: int = 16
    ef_construction: int = 200


def write_hnsw(vectors: npt.NDArray[np.float32], settings: HnswSettings, folder: Path) -> None:
    """Build the index of inner products and write it to ``folder``.

    Parameters
    ----------
    vectors : ndarray
        float32 (N, D), row by row.
    settings : HnswSettings
        How to build it.
    folder : Path
        The bundle's folder.

    Raises
    ------
    MissingExtraError
        If hnswlib is not installed.
    """
    index = import_hnswlib().Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=settings.m, ef_construction=settings.ef_construction, random_seed=_SEED)
    # One thread: with more, the graph would be another one every time.
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    index.save_index(str(folder / HNSW_FILE))


def measure_recall(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compare what the runtime finds with the index with the exact answer.

    The queries are the bundle's examples, filled up with histories of items drawn at random, each without a prompt
    and with prompts that ask for a tag or refuse one.

    Parameters
    ----------
    folder : Path
        A whole bundle that has the index.

    Returns
    -------
    recall : list of dict
        Rows of ``k``, ``ef``, ``queries`` ("plain" or "steered") and ``recall``, the mean share of the exact top-k
        that is found.
    measured_on : dict
        How many histories were ``examples`` and how many ``drawn``, and the ``prompts``.
    """
    exact = Recommender(folder)
    histories, counts = sample_histories(exact, _HISTORIES, seed=_SEED)
    prompts = _prompts(exact.manifest.tags)
    ks = [k for k in _KS if k <= len(exact.items)] or [len(exact.items)]
    asked: dict[str, Sequence[str | None]] = {"plain": [None]} | ({"steered": prompts} if prompts else {})
    best = {(name, k): _rows(exact, histories, texts, k) for name, texts in asked.items() for k in ks}
    recall = []
    for ef in _EFS:
        recommender = Recommender(folder, index="hnsw", ef=ef)
        for (name, k), expected in best.items():
            share = _share(_rows(recommender, histories, asked[name], k), expected)
            recall.append({"k": k, "ef": ef, "queries": name, "recall": round(share, 4)})
    return recall, counts | {"prompts": prompts}


def _prompts(tags: tuple[str, ...]) -> list[str]:
    asks = [f"Something with {tag}, please." for tag in tags[:2]]
    return [*asks, *(f"no {tag}" for tag in tags[2:4])]


def _rows(
    recommender: Recommender, histories: list[list[str]], prompts: Sequence[str | None], k: int
) -> npt.NDArray[np.int64]:
    """Rows found for every history with every prompt, int64 (queries, k)."""
    return np.concatenate([recommender.search_arrays(histories, prompt, k)[0] for prompt in prompts])


def _share(rows: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> float:
    found = sum(len(np.intersect1d(got, want[want >= 0])) for got, want in zip(rows, expected, strict=True))
    return found / max(1, int((expected >= 0).sum()))
