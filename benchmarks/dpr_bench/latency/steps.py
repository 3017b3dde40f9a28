# Where the time of a query goes: by the runtime's own stopwatch, and by a stopwatch around its engines and its kernel.
"""Break a query's time down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any
from unittest.mock import patch

import numpy as np

from dpr_bench.latency.agreement import K
from dpr_bench.latency.questions import FreshPrompts, Questions
from dpr_infer import Recommender
from dpr_infer._core import Catalogue
from dpr_infer.engine import Engine
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.manifest import Manifest

__all__ = ["OTHER", "Outside", "StepsRow", "measure_outside", "measure_steps"]

OTHER = "other"
_TOTAL = "total"
_QUERIES = 2048  # of each case at most
_WARM_UP = 256


@dataclass(frozen=True, kw_only=True)
class StepsRow:
    """Medians of the steps of one case, milliseconds a query; `OTHER` is what the stopwatch books to no step."""

    case: str
    steps: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Outside:
    """A query's time, B = 1 with a cached prompt, medians in microseconds.

    Attributes
    ----------
    engines, kernel : float
        In onnxruntime's sessions, and in the core's search.
    outside : float
        Neither: arguments, ids, caches, arrays, the answer. The stopwatch itself is in it, about 0.3 microseconds.
    total : float
        The whole call.
    """

    engines: float
    kernel: float
    outside: float
    total: float

    def as_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


def measure_steps(
    bundle: Path, questions: Questions, fresh: FreshPrompts, sizes: Sequence[int], *, scale: float = 1.0
) -> list[StepsRow]:
    """Read the stopwatch of many queries, one thread.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    questions : Questions
        What is asked.
    fresh : FreshPrompts
        Prompts that are not cached, for a case of its own with B = 1.
    sizes : sequence of int
        Batch sizes of the cases with cached prompts.
    scale : float
        Of the number of queries.
    """
    recommender = Recommender(bundle)
    many = int(_QUERIES * scale)
    rows = []
    for size in sizes:
        batches = questions.batches(size, max(4, many // size))
        for histories, prompts in questions.batches(1, len(questions.prompts)):
            recommender.query(histories[0], prompts[0], K)
        taken = [_timings(recommender, *batch, size) for batch in batches]
        prompts_are = "prompt cached" if size == 1 else "prompts cached"
        rows.append(_steps_row(f"B = {size}, {prompts_are}", taken))
    new = fresh.take(max(16, many // 8))
    taken = [_timings(recommender, *batch, 1) for batch in questions.batches(1, len(new), new)]
    rows.insert(1, _steps_row("B = 1, prompt not cached", taken))
    return rows


def _timings(
    recommender: Recommender, histories: Sequence[Sequence[str]], prompts: Sequence[str], size: int
) -> dict[str, float]:
    """Milliseconds a query by step; a batch's stopwatch runs for the whole batch."""
    if size == 1:
        times = recommender.query(histories[0], prompts[0], K, timings=True).timings_ms
    else:
        times = recommender.query_batch(histories, prompts, K, timings=True)[0].timings_ms
    assert times is not None
    steps = {step: ms / size for step, ms in times.items() if step != _TOTAL}
    return steps | {OTHER: times[_TOTAL] / size - sum(steps.values())}


def _steps_row(case: str, taken: Sequence[dict[str, float]]) -> StepsRow:
    return StepsRow(
        case=case, steps={step: float(np.median([times[step] for times in taken])) for step in taken[0]}
    )


class _Clock:
    """Adds up nanoseconds."""

    def __init__(self) -> None:
        self.ns = 0


class _TimedEngine:
    """An engine that adds its time to a clock."""

    def __init__(self, engine: Engine, clock: _Clock) -> None:
        self.providers = engine.providers
        self.on_cpu = engine.on_cpu
        self._run = engine.run
        self._clock = clock

    def run(self, feed: dict[str, Any]) -> list[Any]:
        begun = perf_counter_ns()
        outputs = self._run(feed)
        self._clock.ns += perf_counter_ns() - begun
        return outputs


@contextmanager
def _timed_catalogue(clock: _Clock) -> Iterator[None]:
    """While this lasts, a bundle that is opened gets a catalogue that adds its searches to a clock."""

    class TimedCatalogue(Catalogue):
        def search(self, *arguments: Any, **options: Any) -> Any:
            begun = perf_counter_ns()
            found = super().search(*arguments, **options)
            clock.ns += perf_counter_ns() - begun
            return found

    with patch("dpr_infer.scoring.Catalogue", TimedCatalogue):
        yield


def measure_outside(bundle: Path, questions: Questions, *, scale: float = 1.0) -> Outside:
    """Time single queries with stopwatches around every engine and around the kernel.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    questions : Questions
        What is asked; every prompt is in the cache.
    scale : float
        Of the number of queries.
    """
    engines, kernel = _Clock(), _Clock()

    def timed(folder: Path, manifest: Manifest, name: str) -> Engine:
        return _TimedEngine(OnnxEngine(folder, manifest, name, threads=1, providers=[CPU]), engines)

    with _timed_catalogue(kernel):
        recommender = Recommender(bundle, engine=timed)
    warm_up = max(_WARM_UP, len(questions.prompts))
    taken = []
    for histories, prompts in questions.batches(1, warm_up + int(_QUERIES * scale)):
        engines.ns = kernel.ns = 0
        begun = perf_counter_ns()
        recommender.query(histories[0], prompts[0], K)
        total = perf_counter_ns() - begun
        taken.append((engines.ns, kernel.ns, total - engines.ns - kernel.ns, total))
    medians = np.median(np.array(taken[warm_up:]), axis=0) / 1e3
    return Outside(**dict(zip(("engines", "kernel", "outside", "total"), medians.tolist(), strict=True)))
