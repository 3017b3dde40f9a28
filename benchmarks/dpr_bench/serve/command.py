# dpr-bench serve, top to bottom: what is chosen, measured, and written where.
"""Run the server's benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from dpr_bench.kernel_progress import RichWatch
from dpr_bench.serve.faults.command import faults_markdown, run_faults
from dpr_bench.serve.kills import kills_markdown, measure_kills
from dpr_bench.serve.load import FULL_PLAN, NAIVES, QUICK_PLAN, UNBATCHED, measure_load
from dpr_bench.serve.load_report import load_markdown, ratios_at_equal_p99
from dpr_bench.serve.pages import describe_setup, write_results
from dpr_bench.serve.plots import plot_load, plot_series
from dpr_bench.serve.processes import on_load_core
from dpr_bench.serve.soak import measure_soak, soak_markdown
from dpr_bench.serve.wrk import require_wrk

__all__ = ["ServeOptions", "run_serve"]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What the command line asks for. With neither of soak, kills and faults, load is measured."""

    bundle: Path
    checkpoint: Path
    quick: bool
    soak: int
    kills: int
    faults: bool
    out: Path | None

    @property
    def command(self) -> str:
        """The command line that asks for this."""
        words = ["dpr-bench serve", str(self.bundle)]
        words += ["--quick"] if self.quick else []
        words += [f"--soak {self.soak}"] if self.soak else []
        words += [f"--kills {self.kills}"] if self.kills else []
        words += ["--faults"] if self.faults else []
        return " ".join(words)


def run_serve(options: ServeOptions, console: Console) -> None:
    """Measure what is chosen, show it and write it.

    Parameters
    ----------
    options : ServeOptions
        What to do.
    console : Console
        Where progress and figures are shown.

    Raises
    ------
    ValueError
        If a tool is missing, a server does not start, or servers that are compared do not answer the same.
    BundleError
        If the bundle cannot be opened.
    """
    run = _Run(options, console, RichWatch(console))
    with on_load_core(), run.watch.shown():
        if options.soak:
            run.soak()
        if options.kills:
            run.kills()
        if options.faults:
            run.faults()
        if not (options.soak or options.kills or options.faults):
            run.load()


@dataclass(frozen=True)
class _Run:
    options: ServeOptions
    console: Console
    watch: RichWatch

    def load(self) -> None:
        require_wrk()
        plan = QUICK_PLAN if self.options.quick else FULL_PLAN
        results = measure_load(self.options.bundle, self.options.checkpoint, plan, self.watch)
        others = {"the better naive server": NAIVES, UNBATCHED: (UNBATCHED,)}
        ratios = {name: ratios_at_equal_p99(results, servers) for name, servers in others.items()}
        for name, by_bound in ratios.items():
            for bound, ratio in by_bound.items():
                self.console.print(
                    f"p99 within {bound:g} ms: {ratio:.2f} times the throughput of {name}", markup=False
                )
        setup = describe_setup()
        picture = f"{self._name('serve')}.png"
        text = load_markdown(results, self.options.command, setup, plan.rounds, picture)
        document = results.as_dict() | {
            "ratios_at_equal_p99": {name: {f"{b:g}": r for b, r in of.items()} for name, of in ratios.items()}
        }
        out = self._write("serve", setup, document, text)
        if out is not None:
            plot_load({server: results.curve(server) for server in results.rounds}, out / picture)

    def soak(self) -> None:
        require_wrk()
        results = measure_soak(self.options.bundle, self.options.soak, self.watch)
        self.console.print(results.verdict, markup=False)
        setup = describe_setup()
        picture = f"{self._name('serve_soak')}.png"
        text = soak_markdown(results, self.options.command, setup, picture)
        out = self._write("serve_soak", setup, results.as_dict(), text)
        if out is not None:
            plot_series(*results.series(), out / picture)

    def kills(self) -> None:
        results = measure_kills(self.options.bundle, self.options.kills, self.watch)
        self.console.print(results.verdict, markup=False)
        setup = describe_setup()
        text = kills_markdown(results, self.options.command, setup)
        self._write("serve_kills", setup, results.as_dict(), text)

    def faults(self) -> None:
        require_wrk()
        outcomes = run_faults(self.options.bundle, self.watch, quick=self.options.quick)
        for outcome in outcomes:
            self.console.print(outcome.line, markup=False)
        setup = describe_setup()
        text = faults_markdown(outcomes, self.options.command, setup)
        document = {"outcomes": [outcome.as_dict() for outcome in outcomes]}
        self._write("serve_faults", setup, document, text)

    def _name(self, name: str) -> str:
        """Quick runs have files of their own."""
        return f"{name}_quick" if self.options.quick else name

    def _write(
        self, name: str, setup: Mapping[str, Any], document: Mapping[str, Any], text: str
    ) -> Path | None:
        out = self.options.out
        if out is not None:
            paths = write_results(out, self._name(name), self.options.command, setup, document, text)
            self.console.print(f"Written: {', '.join(map(str, paths))}", markup=False)
        return out
