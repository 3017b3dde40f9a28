# Constant load for minutes: does anything grow?
"""Watch memory, descriptors and threads of a server under load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dpr_bench.kernel_progress import Watch
from dpr_bench.serve.client import Client
from dpr_bench.serve.pages import page, table
from dpr_bench.serve.processes import LOAD_CORE, Footprint, ServerProcess, dpr_serve, footprint, serving
from dpr_bench.serve.visitor import Visitor
from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies
from dpr_bench.serve.wrk import WrkResult, run_wrk
from dpr_infer import Recommender

__all__ = ["SoakResults", "measure_soak", "soak_markdown"]

_CONNECTIONS = 8
_CACHED_PROMPTS = 256
# Small bounds, all reached during the warm-up: what grows after that is a leak and not a cache that fills.
_OPTIONS = ("--prompt-cache-size", str(_CACHED_PROMPTS), "--max-sessions", "100", "--max-history", "50")
_WARM_UP = 0.2  # of the time, and all of the visitor's first rounds
_SAMPLE_SECONDS = 1.0
_FLAT = 0.01


@dataclass(frozen=True, kw_only=True)
class SoakResults:
    """What a server held, second by second.

    Attributes
    ----------
    samples : list of (float, Footprint)
        Seconds since the load began, and what the process held then.
    warm_up_seconds : float
        Samples before this count for nothing.
    load : WrkResult
        What the constant load met.
    visits : dict of int to int
        Answers to the other requests, by status.
    """

    samples: list[tuple[float, Footprint]]
    warm_up_seconds: float
    load: WrkResult
    visits: Mapping[int, int] = field(default_factory=dict)

    def drift(self) -> dict[str, float]:
        """By quantity: how far its straight line rose between warm-up and end, relative to its mean."""
        kept = [(at, held) for at, held in self.samples if at >= self.warm_up_seconds]
        at = np.array([seconds for seconds, _ in kept])
        drifts = {}
        for name in ("resident_mib", "descriptors", "threads"):
            values = np.array([float(getattr(held, name)) for _, held in kept])
            slope = float(np.polyfit(at - at.mean(), values, 1)[0])
            drifts[name] = slope * float(at[-1] - at[0]) / float(values.mean())
        return drifts

    @property
    def flat(self) -> bool:
        """Whether nothing rose by more than 1 %."""
        return all(drift <= _FLAT for drift in self.drift().values())

    @property
    def verdict(self) -> str:
        """One line."""
        drifts = ", ".join(f"{name} {drift:+.2%}" for name, drift in self.drift().items())
        failures = self.load.failures + sum(n for status, n in self.visits.items() if status >= 500)
        return f"{'flat' if self.flat else 'NOT FLAT'}: {drifts}; {failures} failures"

    def series(self) -> tuple[list[float], dict[str, list[float]]]:
        """Minutes, and the quantities by axis label."""
        held = [footprint for _, footprint in self.samples]
        return [seconds / 60 for seconds, _ in self.samples], {
            "resident, MiB": [one.resident_mib for one in held],
            "descriptors": [float(one.descriptors) for one in held],
            "threads": [float(one.threads) for one in held],
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of the samples every tenth."""
        return {
            "flat": self.flat,
            "drift": self.drift(),
            "warm_up_seconds": self.warm_up_seconds,
            "load": self.load.as_dict(),
            "visits": {str(status): count for status, count in sorted(self.visits.items())},
            "samples": [
                [round(at, 1), round(held.resident_mib, 2), held.descriptors, held.threads]
                for at, held in self.samples[::10]
            ],
        }


def measure_soak(bundle: Path, seconds: int, watch: Watch) -> SoakResults:
    """Load a server evenly for a while and look at its process once a second.

    Parameters
    ----------
    bundle : Path
        What is served.
    seconds : int
        For so long, at least 20.
    watch : Watch
        Is told what is being done.

    Returns
    -------
    SoakResults
        What it held, and what was answered.

    Raises
    ------
    ValueError
        If `seconds` is too short, or the server does not start or does not survive.
    """
    if seconds < 20:
        raise ValueError(f"soak must last at least 20 seconds; got {seconds}")
    recommender = Recommender(bundle)
    prompts = make_prompts(recommender.manifest.tags)
    requests = make_requests(list(recommender.examples.values()), prompts, 512)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        bodies = write_bodies(requests, Path(name) / "bodies")
        server = dpr_serve(bundle, *_OPTIONS, users=str(Path(name) / "users.sqlite"))
        with serving(server):
            watch.step("filling the caches")
            _fill(server, requests[0]["history"])
            watch.step(f"{seconds} seconds of load")
            url = f"{server.url}/v1/recommend"
            load = pool.submit(
                run_wrk, url, bodies, connections=_CONNECTIONS, seconds=seconds, core=LOAD_CORE
            )
            visitor = Visitor(server.port, requests[0]["history"])
            visits = pool.submit(visitor.keep_visiting, seconds - 1.0)
            samples = _watch(server, load)
            return SoakResults(
                samples=samples,
                warm_up_seconds=_WARM_UP * seconds,
                load=load.result(),
                visits=visits.result(),
            )


def _fill(server: ServerProcess, history: list[str]) -> None:
    """Reach the bound of the prompts' cache. Sessions and histories reach theirs by the visitor's rounds."""
    with Client(server.port) as client:
        for number in range(_CACHED_PROMPTS):
            client.post("/v1/recommend", {"history": history, "prompt": f"a film, number {number}"})


def _watch(server: ServerProcess, load: Future[WrkResult]) -> list[tuple[float, Footprint]]:
    begun = time.monotonic()
    samples = []
    while not load.done():
        if not server.running:
            raise ValueError(f"the server ended during the soak: {server.said()}")
        samples.append((time.monotonic() - begun, footprint(server.pid)))
        time.sleep(_SAMPLE_SECONDS)
    return samples


def soak_markdown(results: SoakResults, command: str, setup: Mapping[str, Any], picture: str) -> str:
    """The page of the results; `picture` is the file of its plot."""
    minutes, series = results.series()
    after = [number for number, at in enumerate(minutes) if 60 * at >= results.warm_up_seconds]
    rows = [
        [label, f"{values[after[0]]:.1f}", f"{values[-1]:.1f}", f"{max(values):.1f}", f"{drift:+.2%}"]
        for (label, values), drift in zip(series.items(), results.drift().values(), strict=True)
    ]
    load = results.load
    visits = ", ".join(f"{count} x {status}" for status, count in sorted(results.visits.items()))
    how = (
        f"{minutes[-1]:.1f} minutes of constant load, {_CONNECTIONS} connections ({load.throughput:,.0f} answers a "
        f"second, p50 {load.p50:.2f} ms, p99 {load.p99:.2f} ms, {load.shed} times 503, {load.failures} failures), and "
        "beside it a visitor who asks for something new all the time: unseen prompts, sessions with turns, events, "
        f"searches, wrong requests, a new connection each round ({visits}). Caches, sessions and histories have small "
        f"bounds ({' '.join(_OPTIONS)}), which are reached before anything is judged. Drift is how far a straight line "
        f"through the samples after the first {_WARM_UP:.0%} of the time rises until the end; flat means 1 % at most."
    )
    columns = ["", "after warm-up", "at the end", "most", "drift"]
    verdict = "Flat." if results.flat else "**Not flat.**"
    return page("Soak", command, setup, [how, f"![Over time]({picture})", table(columns, rows), verdict])
