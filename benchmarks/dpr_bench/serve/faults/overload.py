# Far more clients than the server can answer.
"""Load the server beyond saturation, then look whether it is as before."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted
from dpr_bench.serve.processes import LOAD_CORE, ServerProcess, dpr_serve, serving
from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies
from dpr_bench.serve.wrk import WrkResult, run_wrk

__all__ = ["overload"]

_BUSY, _TOO_MANY = 64, 2000  # connections; the second is beyond the queue's limit
_LEAST_MEANWHILE, _AS_BEFORE = 0.5, 0.9  # of the throughput that saturation gives
_MOST_SECONDS = 20


def overload(setup: FaultSetup) -> Outcome:
    """Measure at saturation, with far too many connections, and at saturation until it is as it was."""
    requests = make_requests([setup.history], make_prompts(setup.tags), 256)
    bodies = write_bodies(requests, setup.folder / "bodies")
    with serving(dpr_serve(setup.bundle)) as server:
        with Client(server.port) as client:
            for request in requests:
                client.post("/v1/recommend", request)
        before, during = (_load(server, bodies, number, setup.seconds) for number in (_BUSY, _TOO_MANY))
        after = [_load(server, bodies, _BUSY, 1)]
        while after[-1].throughput < _AS_BEFORE * before.throughput and len(after) < _MOST_SECONDS:
            after.append(_load(server, bodies, _BUSY, 1))
    failures = sum(one.failures for one in (before, during, *after))
    return Outcome(
        name="overload",
        done=f"{_BUSY} connections, then {_TOO_MANY}, then {_BUSY} again, in closed loops.",
        expected="nothing but 200 and 503; afterwards as fast as before; meanwhile at least "
        f"{_LEAST_MEANWHILE:.0%} of that throughput",
        measured={
            "answers/s before": before.throughput,
            "answers/s meanwhile": during.throughput,
            "meanwhile": counted(Counter(during.statuses)),
            "p99 ms before": before.p99,
            "p99 ms meanwhile": during.p99,
            f"seconds until {_AS_BEFORE:.0%} of the answers/s before": len(after),
            "failures": failures,
        },
        passed=failures == 0
        and during.throughput >= _LEAST_MEANWHILE * before.throughput
        and after[-1].throughput >= _AS_BEFORE * before.throughput,
    )


def _load(server: ServerProcess, bodies: Path, connections: int, seconds: float) -> WrkResult:
    url = f"{server.url}/v1/recommend"
    return run_wrk(url, bodies, connections=connections, seconds=seconds, core=LOAD_CORE)
