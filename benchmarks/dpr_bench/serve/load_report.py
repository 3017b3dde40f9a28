# The load's results as a page.
"""Tables of throughput and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dpr_bench.serve.curve import CurvePoint, throughput_within
from dpr_bench.serve.load import NAIVES, OURS, UNBATCHED, LoadResults
from dpr_bench.serve.pages import page, table

__all__ = ["P99_BOUNDS", "load_markdown", "ratios_at_equal_p99"]

P99_BOUNDS = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)  # milliseconds

_HOW = (
    "wrk keeps so many connections open, each of which waits for its answer before it asks again: {rounds} rounds of "
    "each cell, servers in turn. Bodies are {requests} different ones: histories of 5 to 50 items out of the bundle's "
    "examples, three quarters with one of 64 prompts, which every server has in its cache, and k = 10. Figures are "
    "medians over the rounds; percentiles are wrk's, which adds what a stalled connection would have sent. The naive "
    "server is FastAPI on uvicorn with the same model in PyTorch eager, the same cache of prompts and the same JSON, "
    "without batching, one thread for an operator: once with the model on the event loop (`async def`), once on "
    "FastAPI's pool of threads (`def`)."
)

_EQUAL = (
    "Throughput at equal p99: the most answers a second at which p99 stays within the bound, each server at its own "
    "best concurrency; between measured points it is interpolated linearly. A dash: p99 is above the bound even with "
    "one connection."
)


def ratios_at_equal_p99(results: LoadResults, others: Sequence[str]) -> dict[float, float]:
    """Throughput of dpr-serve over that of the best of the others, by bound on p99, where it and they can keep it."""
    ratios = {}
    for bound in P99_BOUNDS:
        ours = throughput_within(results.curve(OURS), bound)
        theirs = [throughput_within(results.curve(name), bound) for name in others]
        reached = [value for value in theirs if value is not None]
        if ours is not None and reached:
            ratios[bound] = ours / max(reached)
    return ratios


def load_markdown(
    results: LoadResults, command: str, setup: Mapping[str, Any], rounds: int, picture: str
) -> str:
    """The whole page; `picture` is the file of its plot."""
    agreement = results.agreement
    agreed = (
        "Before the timing, dpr-serve and the naive server answered all requests: of ten items they share "
        f"{10 * agreement.shared:.2f} on average and {10 * agreement.worst:.0f} at worst, "
        f"{10 * agreement.shared_without_prompt:.2f} where there is no prompt; the first is the same in "
        f"{agreement.same_first:.1%}. (The bundle's prompt encoder may be int8, the checkpoint's is float32.)"
    )
    parts = [
        _HOW.format(rounds=rounds, requests=agreement.requests),
        f"![Throughput and p99]({picture})",
        "## At equal p99",
        _EQUAL,
        _equal_table(results),
        "## By concurrency",
        *(_server_table(results, server) for server in results.rounds),
        "## Without load",
        _unloaded(results),
        "## Same answers",
        agreed,
    ]
    return page("Serving under load", command, setup, parts)


def _equal_table(results: LoadResults) -> str:
    to_naive, to_unbatched = (ratios_at_equal_p99(results, others) for others in (NAIVES, (UNBATCHED,)))
    rows = []
    for bound in P99_BOUNDS:
        found = [throughput_within(results.curve(server), bound) for server in results.rounds]
        cells = ["-" if value is None else f"{value:,.0f}" for value in found]
        ratios = [f"{of[bound]:.2f}" if bound in of else "-" for of in (to_naive, to_unbatched)]
        rows.append([f"{bound:g} ms", *cells, *ratios])
    columns = ["p99 within", *results.rounds, "ratio to the better naive one", "ratio to no batching"]
    return table(columns, rows)


def _server_table(results: LoadResults, server: str) -> str:
    columns = ["connections", "answers/s", "lowest to highest", "p50 ms", "p99 ms", "503", "failures"]
    batched = server == OURS
    rows = [
        _row(point, results.batch_sizes.get(point.connections) if batched else None)
        for point in results.curve(server)
    ]
    lines = table([*columns, "queries a batch"] if batched else columns, rows)
    return f"**{server}**\n\n{lines}"


def _row(point: CurvePoint, batch_size: float | None) -> list[str]:
    cells = [
        str(point.connections),
        f"{point.throughput:,.0f}",
        f"{point.throughput_low:,.0f} to {point.throughput_high:,.0f}",
        f"{point.p50:.2f}",
        f"{point.p99:.2f}",
        str(point.shed),
        str(point.failures),
    ]
    return cells if batch_size is None else [*cells, f"{batch_size:.1f}"]


def _unloaded(results: LoadResults) -> str:
    first = {server: results.curve(server)[0] for server in results.rounds}
    rows = [[server, f"{point.p50:.2f}", f"{point.p99:.2f}"] for server, point in first.items()]
    said = (
        "One connection, prompts cached. Batching waits for nobody when nobody else is there: its p50 is "
        f"{results.unloaded_ratio():.3f} times that without batching (median over the rounds)."
    )
    return f"{said}\n\n{table(['server', 'p50 ms', 'p99 ms'], rows)}"
