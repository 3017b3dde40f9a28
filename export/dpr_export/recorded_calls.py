# What a bundle's graphs are asked when it answers queries, and what they say: to calibrate with, and to compare with.
"""Calls of the graphs, recorded through the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dpr_export.errors import ParityError
from dpr_infer import Recommender
from dpr_infer.engine import Engine
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.manifest import Manifest

__all__ = ["Call", "Calls", "check_alike", "record_calls"]

Array = npt.NDArray[np.generic]
# Every tag is asked for, refused and both, in words; neutral and long prompts, too.
_ASKING = ("Something with {}, please.", "I would like to see {} today")
_REFUSING = ("no {}", "anything but {}")
_MOST_TAGS = 24
_OTHERS = ("hello", "something good that I have not seen", " ".join(["a very long wish"] * 40))


@dataclass(frozen=True)
class Call:
    """One call of a graph: what it was given, and what onnxruntime's CPU made of it, in the order of the contract."""

    feed: dict[str, Array]
    outputs: list[Array]


Calls = dict[str, list[Call]]


class _Recorder:
    """Runs a graph with onnxruntime on the CPU, and remembers."""

    on_cpu = True

    def __init__(self, engine: Engine, calls: list[Call]) -> None:
        self._engine, self._calls = engine, calls
        self.providers = engine.providers

    def run(self, feed: dict[str, Array]) -> list[Array]:
        outputs = self._engine.run(feed)
        self._calls.append(Call(dict(feed), list(outputs)))
        return outputs


def record_calls(bundle: Path) -> Calls:
    """Ask a bundle's recommender about each of its tags, alone, in batches and in sessions; record all calls.

    Parameters
    ----------
    bundle : Path
        A whole bundle.

    Returns
    -------
    dict of str to list of Call
        By graph; in the order of the calls.
    """
    calls: Calls = {}

    def open_engine(folder: Path, manifest: Manifest, name: str) -> Engine:
        engine = OnnxEngine(folder, manifest, name, threads=1, providers=[CPU])
        return _Recorder(engine, calls.setdefault(name, []))

    recommender = Recommender(bundle, engine=open_engine)
    histories = [*recommender.examples.values(), ()]
    prompts = _prompts(recommender.manifest.tags)
    for i, prompt in enumerate(prompts):
        recommender.query(histories[i % len(histories)], prompt, k=1)
    recommender.query_batch([histories[i % len(histories)] for i in range(len(prompts))], prompts, k=1)
    limit = recommender.manifest.history_limit  # beyond it nothing goes on from a state
    for history in histories:
        session = recommender.session(history[-limit:-1])
        session.query(k=1)
        session.append(history[-1:])
        session.query(k=1)
    return calls


def _prompts(tags: Sequence[str]) -> list[str]:
    tags = tags[:: -(-len(tags) // _MOST_TAGS)] if tags else ()
    named = [template.format(tag) for template in (*_ASKING, *_REFUSING) for tag in tags]
    pairs = [f"{asked} without {refused}" for asked, refused in pairwise(tags)]
    return [*named, *pairs, *_OTHERS]


def check_alike(
    graph: str, names: Sequence[str], calls: Sequence[Call], engine: Engine, bound: float
) -> float:
    """Compare an engine with recorded calls.

    Parameters
    ----------
    graph : str
        Which graph, for the message.
    names : sequence of str
        Its outputs.
    calls : sequence of Call
        The recorded calls.
    engine : Engine
        What to compare with them.
    bound : float
        Largest error allowed, relative to the largest value of an output; absolute for wishes, which lie in [0, 1].

    Returns
    -------
    float
        The largest error.

    Raises
    ------
    ParityError
        If it is beyond the bound.
    """
    worst = 0.0
    for call in calls:
        for name, got, want in zip(names, engine.run(call.feed), call.outputs, strict=True):
            scale = 1.0 if name in ("wish", "released") else max(float(np.abs(want).max(initial=0.0)), 1e-6)
            same_shape = got.shape == want.shape
            error = float(np.abs(got - want).max(initial=0.0)) / scale if same_shape else float("inf")
            if not error <= bound:
                raise ParityError(
                    f"{graph}: {name} for shapes {[array.shape for array in call.feed.values()]}: "
                    f"expected an error of at most {bound:g} against onnxruntime, got {error:.3g}"
                )
            worst = max(worst, error)
    return worst
