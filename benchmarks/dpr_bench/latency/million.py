# A catalogue of a million: the model's own items, and as many more of the same vectors with noise.
"""One query against many items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dpr_bench.kernel_data import Data
from dpr_bench.kernel_progress import Watch
from dpr_bench.kernel_real import repeated
from dpr_bench.latency.agreement import Agreement, compare_answers
from dpr_bench.latency.cases import Plan
from dpr_bench.latency.contenders import FAISS, NUMPY, OPTIMISED, OURS, Models, limited_threads
from dpr_bench.latency.numpy_ranking import FaissRanking, NumpyRanking
from dpr_bench.latency.onnx_peer import OnnxPipeline
from dpr_bench.latency.ours import OurPipeline
from dpr_bench.latency.pipeline import Pipeline
from dpr_bench.latency.questions import Questions
from dpr_bench.latency.rounds import median_ratio, time_rounds
from dpr_bench.latency.torch_peers import OptimisedPipeline
from dpr_infer import extend_bundle
from dpr_infer.bundle import open_bundle

__all__ = ["MANY_NOISE", "MillionRow", "extend_to", "measure_million"]

MANY_NOISE = 0.3  # length of the noise over length of the vector, as the kernel's goals have it
_PROMPTS = 16  # different ones; at a tenth of a second a call there is no time for more


@dataclass(frozen=True, kw_only=True)
class MillionRow:
    """One contender with many items, B = 1, prompt cached, one thread; the fields are those of `LatencyRow`."""

    pipeline: str
    items: int
    times: dict[str, Any]
    ratio: float
    ratio_low: float
    ratio_high: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        return {**values.pop("times"), **values}


def extend_to(bundle: Path, out: Path, items: int) -> Path:
    """Write a copy of a bundle with so many items: its own vectors repeated with noise, tags and titles repeated.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    out : Path
        Folder of the copy, which is not there yet.
    items : int
        N, more than the bundle has.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ValueError
        If the bundle has as many items.
    BundleError, QueryError
        As `extend_bundle`.
    """
    opened = open_bundle(bundle)
    vectors = np.array(opened.catalogue.vectors, dtype=np.float32, order="C")
    own = len(vectors)
    if own >= items:
        raise ValueError(f"{bundle} must have fewer than {items:,} items; it has {own:,}")
    nothing = np.empty((0, vectors.shape[1]), dtype=np.float32)
    data = Data(
        name=bundle.name, vectors=vectors, queries=nothing, tuning=nothing, parts=opened.manifest.dims.parts
    )
    table = opened.items
    copies = range(own, items)
    extend_bundle(
        bundle,
        out,
        [f"{table.ids[row % own]}#{row // own}" for row in copies],
        vectors=repeated(data, items, MANY_NOISE).vectors[own:],
        titles=[table.titles[row % own] for row in copies],
        tags=[table.tags[row % own] for row in copies],
    )
    return out


def measure_million(
    models: Models, extended: Path, questions: Questions, plan: Plan, watch: Watch
) -> tuple[list[MillionRow], list[Agreement]]:
    """Time single queries with cached prompts over the many items, in one thread.

    Parameters
    ----------
    models : Models
        Graphs and checkpoint; all of it is float32.
    extended : Path
        The bundle of `extend_to`.
    questions : Questions
        What is asked.
    plan : Plan
        Rounds.
    watch : Watch
        Told of every round.

    Returns
    -------
    rows : list of MillionRow
        dpr-infer first.
    agreement : list of Agreement
        What was compared before.

    Raises
    ------
    ValueError
        If the contenders do not recommend the same items.
    """
    batches = questions.batches(1, _PROMPTS)
    with limited_threads(1):
        pipelines = _open(models, extended)
        agreement = compare_answers(pipelines, list(pipelines), batches)
        rounds = [batches] * plan.million_rounds
        times = time_rounds(pipelines, rounds, plan.million_seconds, watch, again=True)
    rows = []
    for name, of_calls in times.items():
        ratio, low, high = median_ratio(of_calls, times[OURS])
        rows.append(
            MillionRow(
                pipeline=name,
                items=plan.million,
                times=of_calls.as_dict(),
                ratio=ratio,
                ratio_low=low,
                ratio_high=high,
            )
        )
    return rows, agreement


def _open(models: Models, extended: Path) -> Mapping[str, Pipeline]:
    opened = open_bundle(extended)
    vectors = np.array(opened.catalogue.vectors, dtype=np.float32, order="C")
    return {
        OURS: OurPipeline(extended, 1),
        NUMPY: OnnxPipeline(extended, models.plain_graphs, 1, NumpyRanking),
        FAISS: OnnxPipeline(extended, models.plain_graphs, 1, FaissRanking),
        OPTIMISED: OptimisedPipeline(models.checkpoint, vectors=vectors, ids=opened.items.ids),
    }
