# dpr-bench: parse, call, exit code.
"""Command line of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from dpr_infer import DprError
from dpr_train.checkpoint import CheckpointError
from dpr_train.data import DataError
from dpr_train.devices import DeviceError

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console(soft_wrap=True)


@app.callback()
def benchmarks() -> None:
    """Measure dpr-infer against its peers, in the same run."""


@app.command()
def latency(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    checkpoint: Annotated[Path, typer.Option(help="The checkpoint that the bundle was made of.")] = Path(
        "runs/ml-100k"
    ),
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Whose histories: a data set's name or folder, or 'examples' for the bundle's own."
            "  [default: the data of the checkpoint]"
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the data come from, as for dpr-train.")] = None,
    cache_dir: Annotated[Path, typer.Option(help="Where downloads are kept.")] = Path(".cache"),
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Threads of every pipeline; may be repeated.  [default: 1 and 2; quick: 1]"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer and shorter rounds, nothing compiled: three minutes.")
    ] = False,
    soak: Annotated[bool, typer.Option("--soak", help="A million queries for memory.")] = False,
    memory_queries: Annotated[
        int | None,
        typer.Option(min=1, help="Queries for memory.  [default: 100000; quick: 20000]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON, table and plots into this folder.")] = None,
) -> None:
    """Time whole queries against what one would write without this engine: cached and not, one and many at a time."""
    from dpr_bench.latency.command import LatencyOptions, run_latency

    options = LatencyOptions(
        bundle=bundle,
        checkpoint=checkpoint,
        dataset=dataset,
        source=source,
        cache_dir=cache_dir,
        threads=threads or ([1] if quick else [1, 2]),
        quick=quick,
        soak=soak,
        queries=memory_queries,
        out=out,
    )
    run_latency(options, console)


@app.command()
def sessions(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint, of which all but the backbone is taken.")],
    backbone: Annotated[
        list[str] | None, typer.Option(help="Kind of backbone; may be repeated.  [default: gru4rec, sasrec]")
    ] = None,
    length: Annotated[
        list[int] | None, typer.Option(min=1, help="Items of a history.  [default: 10, 50, 200, 250]")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of calls for each figure.")] = 300,
) -> None:
    """Time sessions against whole queries where one item, or the prompt, is new."""
    from dpr_bench.sessions import run_sessions

    run_sessions(checkpoint, backbone or ["gru4rec", "sasrec"], length or [10, 50, 200, 250], rounds, console)


@app.command()
def kernel(
    quick: Annotated[bool, typer.Option("--quick", help="The goals alone, in under ten minutes.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write JSON, table and plots into this folder.")] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle of a trained model, for real vectors and queries; may be repeated."),
    ] = None,
    cache_dir: Annotated[Path, typer.Option(help="Where peers' indexes are kept.")] = Path(".cache"),
    cases: Annotated[
        list[str] | None, typer.Option(help="Only cases with this in their name; may be repeated.")
    ] = None,
    scale: Annotated[float, typer.Option(min=1e-6, max=1.0, hidden=True)] = 1.0,
) -> None:
    """Time the search itself against other libraries: exact ones, and approximate ones at measured recall."""
    from dpr_bench.kernel_command import (  # its peers are of no use to other commands
        KernelOptions,
        run_kernel,
    )

    options = KernelOptions(
        quick=quick,
        out=out,
        bundles=bundle or [Path("bundles/ml-1m")],
        cache_dir=cache_dir,
        cases=cases or [],
        scale=scale,
    )
    run_kernel(options, console)


@app.command()
def quality(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoint folders, one a seed.")],
    dataset: Annotated[
        str, typer.Option(help="Data set that they were trained on: a name or a folder.")
    ] = "ml-100k",
    source: Annotated[str | None, typer.Option(help="Where the data come from, as for dpr-train.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Bundle of one of them: adds conversations, as the runtime reads them."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write JSON, tables and plots into this folder.")] = None,
    language_model: Annotated[
        int,
        typer.Option(min=0, help="Try a small language model as re-ranker on so many queries of each task."),
    ] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads that torch uses.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Checkpoints at the same time.")] = 1,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Folder for downloads.  [default: the user's cache folder]")
    ] = None,
    users: Annotated[
        int, typer.Option(min=0, help="Only so many users, evenly spread; 0 for all. Rankings stay full.")
    ] = 0,
) -> None:
    """Compare steering with filters and text baselines, and measure how prompts are understood."""
    from dpr_bench.quality.command import QualityOptions, run_quality  # training's modules

    options = QualityOptions(
        checkpoints=checkpoints,
        dataset=dataset,
        source=source,
        bundle=bundle,
        out=out,
        cache_dir=cache_dir,
        language_model=language_model,
        threads=threads,
        workers=workers,
        users=users,
    )
    run_quality(options, console)


@app.command()
def ablations(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder: its backbone and prompt encoder are kept.")
    ],
    dataset: Annotated[str, typer.Option(help="The data set that it was trained on.")] = "ml-100k",
    source: Annotated[str | None, typer.Option(help="Where the data come from; as for dpr-train.")] = None,
    cache_dir: Annotated[Path, typer.Option(help="Where downloads are kept.")] = Path(".cache"),
    seeds: Annotated[str, typer.Option(help="Seeds of stage 3, with commas between them.")] = "0,1,2",
    variants: Annotated[
        list[str] | None, typer.Option(help="Only variants with this in their name; may be repeated.")
    ] = None,
    scratch_epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of the variant that trains all from scratch.")
    ] = 6,
    threads: Annotated[int, typer.Option(min=1, help="Threads that torch uses.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Seeds side by side, each in its own process.")] = 1,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where stage 3 computes.")] = "cpu",
    out: Annotated[Path | None, typer.Option(help="Write JSON, table and plot into this folder.")] = None,
) -> None:
    """Train stage 3 again without one part at a time, and say what each part is worth."""
    from dpr_bench.ablations.command import AblationOptions, run_ablations

    options = AblationOptions(
        checkpoint=checkpoint,
        dataset=dataset,
        source=source,
        cache_dir=cache_dir,
        seeds=[int(seed) for seed in seeds.replace(",", " ").split()],
        variants=variants or [],
        scratch_epochs=scratch_epochs,
        threads=threads,
        workers=workers,
        device=device,
        out=out,
    )
    run_ablations(options, console)


@app.command()
def serve(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")] = Path("bundles/ml-100k"),
    checkpoint: Annotated[
        Path, typer.Option(help="Checkpoint of the bundle: what the naive server serves.")
    ] = Path("runs/ml-100k"),
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter rounds: two minutes.")] = False,
    soak: Annotated[
        int,
        typer.Option(min=0, help="Instead: constant load for so many seconds, and what the process holds."),
    ] = 0,
    kills: Annotated[
        int, typer.Option(min=0, help="Instead: so many times kill -9 while events are stored.")
    ] = 0,
    faults: Annotated[
        bool, typer.Option("--faults", help="Instead: faults and attacks, one after the other.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write JSON, tables and plots into this folder.")] = None,
) -> None:
    """Load dpr-serve and a naive server, or do to dpr-serve what production does to servers."""
    from dpr_bench.serve.command import ServeOptions, run_serve

    options = ServeOptions(
        bundle=bundle, checkpoint=checkpoint, quick=quick, soak=soak, kills=kills, faults=faults, out=out
    )
    run_serve(options, console)


@app.command("serve-stack")
def serve_stack(
    seconds: Annotated[int, typer.Option(min=1, help="Length of each of the 24 measurements.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write JSON and table into this folder.")] = None,
) -> None:
    """Compare what dpr-serve could be built on: Litestar and FastAPI, on uvicorn and granian."""
    from dpr_bench.serve.stack import run_stack

    run_stack(seconds, out, console)


def main() -> None:
    """Run ``dpr-bench``: exit code 0, 1 if nothing could be measured, 2 for wrong arguments."""
    try:
        app()
    except (DprError, CheckpointError, DataError, DeviceError, OSError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"dpr-bench: {error}", style="red", highlight=False, markup=False
        )
        raise SystemExit(1) from None
