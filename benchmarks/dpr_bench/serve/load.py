# The load itself: servers side by side, rising concurrency, rounds in turn so that a busy moment meets all of them.
"""Measure throughput and latency of several servers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from dpr_bench.kernel_progress import Watch
from dpr_bench.serve.agreement import Agreement, check_agreement
from dpr_bench.serve.curve import CurvePoint, median_curve
from dpr_bench.serve.processes import LOAD_CORE, ServerProcess, dpr_serve, naive_serve, serving
from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies
from dpr_bench.serve.wrk import WrkResult, run_wrk
from dpr_infer import Recommender

__all__ = [
    "FULL_PLAN",
    "NAIVE",
    "NAIVES",
    "NAIVE_POOL",
    "OURS",
    "QUICK_PLAN",
    "UNBATCHED",
    "LoadPlan",
    "LoadResults",
    "measure_load",
]

OURS, UNBATCHED = "dpr-serve", "dpr-serve, no batching"
NAIVE, NAIVE_POOL = "naive server", "naive server, pool of threads"
NAIVES = (NAIVE, NAIVE_POOL)
_REQUESTS = 512  # different bodies


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """How much is measured: connections open at a time, rounds of all of it, seconds each."""

    connections: Sequence[int]
    rounds: int
    seconds: int


FULL_PLAN = LoadPlan(connections=(1, 2, 4, 8, 16, 32, 64, 128, 256), rounds=3, seconds=4)
QUICK_PLAN = LoadPlan(connections=(1, 8, 32, 128, 256), rounds=1, seconds=4)


@dataclass(frozen=True, kw_only=True)
class LoadResults:
    """What was measured.

    Attributes
    ----------
    agreement : Agreement
        Of the answers, before the timing.
    rounds : dict of str to list of (int, WrkResult)
        By server: connections and what came back, in the order measured.
    batch_sizes : dict of int to float
        Mean queries of a native batch of dpr-serve, by connections.
    """

    agreement: Agreement
    rounds: Mapping[str, Sequence[tuple[int, WrkResult]]]
    batch_sizes: Mapping[int, float]

    def curve(self, server: str) -> list[CurvePoint]:
        """The points of one server."""
        return median_curve(self.rounds[server])

    def unloaded_ratio(self) -> float:
        """p50 at one connection with batching over that without, median over the rounds."""
        pairs = zip(self._unloaded(OURS), self._unloaded(UNBATCHED), strict=True)
        return median(ours / unbatched for ours, unbatched in pairs)

    def _unloaded(self, server: str) -> list[float]:
        return [result.p50 for connections, result in self.rounds[server] if connections == 1]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: curves, and every round behind them."""
        return {
            "agreement": self.agreement.as_dict(),
            "unloaded_p50_batching_over_none": self.unloaded_ratio(),
            "batch_sizes": {str(number): size for number, size in self.batch_sizes.items()},
            "curves": {server: [p.as_dict() for p in self.curve(server)] for server in self.rounds},
            "rounds": {
                server: [{"connections": number} | result.as_dict() for number, result in measured]
                for server, measured in self.rounds.items()
            },
        }


def measure_load(bundle: Path, checkpoint: Path, plan: LoadPlan, watch: Watch) -> LoadResults:
    """Measure dpr-serve with and without batching, and the naive server in both ways that one writes it.

    Parameters
    ----------
    bundle, checkpoint : Path
        The same model, exported and not.
    plan : LoadPlan
        How much.
    watch : Watch
        Is told what is being done.

    Returns
    -------
    LoadResults
        Everything.

    Raises
    ------
    ValueError
        If a server does not start, or the answers differ.
    """
    recommender = Recommender(bundle)
    prompts = make_prompts(recommender.manifest.tags)
    requests = make_requests(list(recommender.examples.values()), prompts, _REQUESTS)
    servers = {
        OURS: dpr_serve(bundle),
        UNBATCHED: dpr_serve(bundle, "--max-batch", "1"),
        NAIVE: naive_serve(checkpoint, pool=False),
        NAIVE_POOL: naive_serve(checkpoint, pool=True),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bodies = write_bodies(requests, folder / "bodies")
        for name, server in servers.items():
            watch.step(f"starting {name}")
            stack.enter_context(serving(server))
        watch.step("comparing answers")
        agreement = check_agreement(servers[OURS].port, servers[NAIVE].port, requests)
        for other in (UNBATCHED, NAIVE_POOL):
            check_agreement(servers[OURS].port, servers[other].port, requests)
        rounds, batch_sizes = _measure_rounds(servers, bodies, plan, watch)
    return LoadResults(agreement=agreement, rounds=rounds, batch_sizes=batch_sizes)


def _measure_rounds(
    servers: Mapping[str, ServerProcess], bodies: Path, plan: LoadPlan, watch: Watch
) -> tuple[dict[str, list[tuple[int, WrkResult]]], dict[int, float]]:
    rounds: dict[str, list[tuple[int, WrkResult]]] = {name: [] for name in servers}
    batches: dict[int, list[float]] = {}
    for connections in plan.connections:
        watch.step(f"{connections} connections")
        for number in range(plan.rounds):
            watch.tick(number + 1, plan.rounds)
            for name, server in servers.items():
                before = _batches(server) if name == OURS else (0.0, 0.0)
                result = run_wrk(
                    f"{server.url}/v1/recommend",
                    bodies,
                    connections=connections,
                    seconds=plan.seconds,
                    core=LOAD_CORE,
                )
                rounds[name].append((connections, result))
                if name == OURS:
                    after = _batches(server)
                    batches.setdefault(connections, []).append(
                        (after[0] - before[0]) / max(1.0, after[1] - before[1])
                    )
    return rounds, {connections: median(sizes) for connections, sizes in batches.items()}


def _batches(server: ServerProcess) -> tuple[float, float]:
    """Queries answered, and native batches that answered them, since the server started."""
    return server.metric("dpr_batch_size_sum"), server.metric("dpr_batch_size_count")
