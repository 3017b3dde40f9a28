# dpr-bench serve-stack: which framework on which server, on one small endpoint. A minute in all.
"""Compare Litestar and FastAPI on uvicorn and granian."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from dpr_bench.kernel_progress import RichWatch
from dpr_bench.serve.curve import CurvePoint, median_curve
from dpr_bench.serve.pages import describe_setup, page, table, write_results
from dpr_bench.serve.processes import (
    LOAD_CORE,
    SERVER_CORE,
    ServerProcess,
    free_port,
    on_load_core,
    pinned,
    serving,
)
from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies
from dpr_bench.serve.wrk import WrkResult, require_wrk, run_wrk

__all__ = ["STACKS", "run_stack", "stack_markdown", "stack_server"]

STACKS = tuple(
    (framework, server) for framework in ("Litestar", "FastAPI") for server in ("uvicorn", "granian")
)
_CONNECTIONS = (1, 32)
_ROUNDS = 3

Curves = Mapping[str, Sequence[CurvePoint]]


def stack_server(framework: str, server: str, *, core: int | None = SERVER_CORE) -> ServerProcess:
    """One of the stacks, not started yet."""
    port = free_port()
    words = [sys.executable, "-m", "dpr_bench.serve.stack_app", framework, server, str(port)]
    return ServerProcess([*pinned(core), *words], port, ready_path="/ready", environment={})


def run_stack(seconds: int, out: Path | None, console: Console) -> Curves:
    """Measure all stacks in turn, show and write the results.

    Parameters
    ----------
    seconds : int
        Of each measurement.
    out : Path or None
        Folder for results.
    console : Console
        Where progress and results are shown.

    Returns
    -------
    mapping of str to sequence of CurvePoint
        By stack.

    Raises
    ------
    ValueError
        If wrk is missing, or a stack does not start.
    """
    require_wrk()
    rounds: dict[str, list[tuple[int, WrkResult]]] = {}
    history = [str(number) for number in range(100)]
    requests = make_requests([history], make_prompts(["Comedy", "War"]), 64)
    watch = RichWatch(console)
    with on_load_core(), watch.shown(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bodies = write_bodies(requests, folder / "bodies")
        watch.step("starting the stacks")
        servers = {f"{f} on {s}": stack.enter_context(serving(stack_server(f, s))) for f, s in STACKS}
        for connections in _CONNECTIONS:
            watch.step(f"{connections} connections")
            for number in range(_ROUNDS):
                watch.tick(number + 1, _ROUNDS)
                for name, server in servers.items():
                    url = f"{server.url}/v1/recommend"
                    result = run_wrk(url, bodies, connections=connections, seconds=seconds, core=LOAD_CORE)
                    rounds.setdefault(name, []).append((connections, result))
    curves = {name: median_curve(measured) for name, measured in rounds.items()}
    command = f"dpr-bench serve-stack --seconds {seconds}"
    setup = describe_setup() | {"granian": version("granian")}
    text = stack_markdown(curves, command, setup)
    console.print(_table(curves), markup=False)
    if out is not None:
        document = {"stacks": {name: [p.as_dict() for p in curve] for name, curve in curves.items()}}
        paths = write_results(out, "serve_stack", command, setup, document, text)
        console.print(f"Written: {', '.join(map(str, paths))}", markup=False)
    return curves


def stack_markdown(curves: Curves, command: str, setup: Mapping[str, Any]) -> str:
    """The page of the results."""
    how = (
        "One endpoint that reads a history and answers ten items, one process on one core, uvloop everywhere, "
        f"httptools in uvicorn, granian {setup['granian']} with one worker, whose threads share the core with the "
        f"application's. Medians over {_ROUNDS} rounds, stacks in turn."
    )
    return page("Framework and server", command, setup, [how, _table(curves)])


def _table(curves: Curves) -> str:
    rows = [
        [
            name,
            point.connections,
            f"{point.throughput:,.0f}",
            f"{point.p50:.3f}",
            f"{point.p99:.3f}",
            point.failures,
        ]
        for connections in _CONNECTIONS
        for name, curve in curves.items()
        for point in curve
        if point.connections == connections
    ]
    return table(["stack", "connections", "answers/s", "p50 ms", "p99 ms", "failures"], rows)
