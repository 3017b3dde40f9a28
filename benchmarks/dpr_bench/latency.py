# Times whole queries, pipeline against pipeline in the same run. Answers are compared before anything is timed.
"""Latency of a bundle against what one would write without this engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from dpr_bench.pipelines import EagerPipeline, OnnxNumpyPipeline, OurPipeline, Pipeline
from dpr_infer import Recommender

__all__ = ["LatencyRow", "measure_latency"]

_K = 10
_ROUNDS = 7  # blocks a case and pipeline, taken in turn


@dataclass(frozen=True)
class LatencyRow:
    """One pipeline in one case.

    ``p50``, ``p90`` and ``p99`` are milliseconds a call: the best of the medians of the rounds, and percentiles of all
    calls. ``ratio`` is the median, over rounds, of this pipeline's median over that of dpr-infer in the same round.
    """

    case: str
    pipeline: str
    calls: int
    p50: float
    p90: float
    p99: float
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Case:
    name: str
    batch: int
    cached: bool
    calls: int


_CASES = (
    _Case("B = 1, prompt cached", 1, True, 200),
    _Case("B = 1, prompt not cached", 1, False, 30),
    _Case("B = 64, prompts cached", 64, True, 20),
)


def measure_latency(
    bundle: Path,
    checkpoint: Path | None,
    *,
    threads: int,
    say: Callable[[str], None] = lambda _: None,
) -> list[LatencyRow]:
    """Time dpr-infer, onnxruntime + NumPy and, given a checkpoint, PyTorch eager.

    Histories are the bundle's examples, prompts are made from its tags.

    Parameters
    ----------
    bundle : Path
        Bundle folder.
    checkpoint : Path or None
        The checkpoint that the bundle was made from.
    threads : int
        For every pipeline's engines.
    say : callable
        Told what is being done.

    Raises
    ------
    ValueError
        If the pipelines do not give the same items.
    """
    pipelines: list[Pipeline] = [OurPipeline(bundle, threads), OnnxNumpyPipeline(bundle, threads)]
    if checkpoint is not None:
        pipelines.append(EagerPipeline(checkpoint, threads))
    recommender = Recommender(bundle)
    histories = list(recommender.examples.values())
    prompts = _prompts(recommender.manifest.tags)
    say("comparing answers")
    _check_answers(pipelines[:2], histories, prompts)
    rows: list[LatencyRow] = []
    for case in _CASES:
        say(case.name)
        rows += _time_case(case, pipelines, histories, prompts)
    return rows


def _prompts(tags: Sequence[str]) -> list[str]:
    texts = [f"something with {tag.lower()}, please" for tag in tags]
    return texts + [f"no {tag.lower()} tonight" for tag in tags]


def _check_answers(
    pipelines: Sequence[Pipeline], histories: Sequence[Sequence[str]], prompts: Sequence[str]
) -> None:
    """The pipelines that run the same graphs must recommend the same items, up to ties of rounding."""
    for number, prompt in enumerate(prompts):
        history = histories[number % len(histories)]
        ours, theirs = (p.search([history], [prompt], _K)[0] for p in pipelines)
        if len(set(ours) & set(theirs)) < _K - 1:
            names = " and ".join(p.name for p in pipelines)
            raise ValueError(
                f"{names} differ for {prompt!r}: expected the same items, got {ours} and {theirs}"
            )


def _time_case(
    case: _Case,
    pipelines: Sequence[Pipeline],
    histories: Sequence[Sequence[str]],
    prompts: Sequence[str],
) -> list[LatencyRow]:
    times: dict[str, list[np.ndarray]] = {p.name: [] for p in pipelines}
    for number in range(_ROUNDS + 1):
        for pipeline in pipelines:
            block = _time_block(case, pipeline, histories, prompts, number)
            if number:  # the first round warms up
                times[pipeline.name].append(block)
    ours = [np.median(block) for block in times[pipelines[0].name]]
    rows = []
    for name, blocks in times.items():
        every = np.concatenate(blocks)
        medians = [np.median(block) for block in blocks]
        rows.append(
            LatencyRow(
                case=case.name,
                pipeline=name,
                calls=len(every),
                p50=float(min(medians)),
                p90=float(np.percentile(every, 90)),
                p99=float(np.percentile(every, 99)),
                ratio=float(np.median([m / o for m, o in zip(medians, ours, strict=True)])),
            )
        )
    return rows


def _time_block(
    case: _Case,
    pipeline: Pipeline,
    histories: Sequence[Sequence[str]],
    prompts: Sequence[str],
    number: int,
) -> np.ndarray:
    """Milliseconds of each call of one round."""
    batches = []
    for call in range(case.calls):
        at = range(call * case.batch, (call + 1) * case.batch)
        texts = [prompts[i % len(prompts)] for i in at]
        if not case.cached:  # a number makes a prompt that no cache holds
            texts = [f"{text} {number}-{call}" for text in texts]
        batches.append(([histories[i % len(histories)] for i in at], texts))
    if case.cached:
        for chosen, texts in batches:
            pipeline.search(chosen, texts, _K)
    gc.collect()
    gc.disable()
    taken = []
    try:
        for chosen, texts in batches:
            begun = perf_counter()
            pipeline.search(chosen, texts, _K)
            taken.append(perf_counter() - begun)
    finally:
        gc.enable()
    return 1e3 * np.array(taken)
