# Far more clients than the server can answer.
"""Load the server beyond saturation, then look how soon it is as before."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dpr_bench.serve.client import Client
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted, percentile_ms
from dpr_bench.serve.processes import LOAD_CORE, ServerProcess, dpr_serve, serving
from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies
from dpr_bench.serve.wrk import WrkResult, run_wrk

__all__ = ["overload"]

_BUSY, _TOO_MANY = 64, 2000  # connections; the second is beyond the queue's limit
_LEAST_MEANWHILE = 0.5  # of the throughput that saturation gives
_AS_BEFORE = 1.5  # times the p50 of a client that is alone
_MOST_SECONDS, _SOON_SECONDS = 20.0, 2.0
_ASKED = 20  # times, for a p50


def overload(setup: FaultSetup) -> Outcome:
    """Measure at saturation and with far too many connections, then how soon a lone client is answered as before."""
    requests = make_requests([setup.history], make_prompts(setup.tags), 256)
    bodies = write_bodies(requests, setup.folder / "bodies")
    with serving(dpr_serve(setup.bundle)) as server:
        with Client(server.port) as client:
            for request in requests:
                client.post("/v1/recommend", request)
        alone = _p50_ms(server, requests[0])
        before, during = (_load(server, bodies, number, setup.seconds) for number in (_BUSY, _TOO_MANY))
        ended = time.monotonic()
        while (p50 := _p50_ms(server, requests[0])) > _AS_BEFORE * alone:
            if time.monotonic() - ended > _MOST_SECONDS:
                break
        recovered = time.monotonic() - ended
    failures = before.failures + during.failures
    return Outcome(
        name="overload",
        done=f"{_BUSY} connections, then {_TOO_MANY}, in closed loops; then one client alone.",
        expected=f"nothing but 200 and 503; meanwhile at least {_LEAST_MEANWHILE:.0%} of the throughput before; "
        f"{_SOON_SECONDS:g} s afterwards the p50 of one client is at most {_AS_BEFORE} times that before",
        measured={
            "answers/s before": before.throughput,
            "answers/s meanwhile": during.throughput,
            "meanwhile": counted(Counter(during.statuses)),
            "p99 ms before": before.p99,
            "p99 ms meanwhile": during.p99,
            "p50 ms alone before": alone,
            "p50 ms alone afterwards": p50,
            "seconds until then": recovered,
            "failures": failures,
        },
        passed=failures == 0
        and during.throughput >= _LEAST_MEANWHILE * before.throughput
        and p50 <= _AS_BEFORE * alone
        and recovered <= _SOON_SECONDS,
    )


def _p50_ms(server: ServerProcess, request: Mapping[str, Any]) -> float:
    with Client(server.port) as client:
        return percentile_ms([client.post("/v1/recommend", request).seconds for _ in range(_ASKED)], 50)


def _load(server: ServerProcess, bodies: Path, connections: int, seconds: float) -> WrkResult:
    url = f"{server.url}/v1/recommend"
    return run_wrk(url, bodies, connections=connections, seconds=seconds, core=LOAD_CORE)
