# dpr-export: parse, call, exit code.
"""Command line of the exporter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table

from dpr_export.errors import ExportError
from dpr_export.hnsw import HnswSettings
from dpr_export.validate import ParityRow
from dpr_export.write_bundle import export_bundle
from dpr_infer import DprError
from dpr_train.checkpoint import CheckpointError

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console()


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder that dpr-train left.")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write.")],
    prompt_encoder: Annotated[
        Literal["fp32", "int8"], typer.Option(help="Precision of the prompt encoder's weights.")
    ] = "fp32",
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that stands at --out.")] = False,
    index: Annotated[
        Literal["exact", "hnsw"], typer.Option(help="hnsw adds an approximate index to the exact one.")
    ] = "exact",
    hnsw_m: Annotated[
        int | None, typer.Option(min=2, max=512, help="Links of an item in the HNSW index.  [default: 16]")
    ] = None,
    hnsw_ef_construction: Annotated[
        int | None,
        typer.Option(min=1, max=100_000, help="Items in view while it is built.  [default: 200]"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that torch uses.")] = 2,
) -> None:
    """Compile a checkpoint into a bundle, compare it with PyTorch, and write it whole or not at all."""
    hnsw = _hnsw_settings(index, hnsw_m, hnsw_ef_construction)
    torch.set_num_threads(threads)
    begun = time.monotonic()
    rows = export_bundle(
        checkpoint,
        out,
        precision=prompt_encoder,
        force=force,
        hnsw=hnsw,
        say=lambda text: _print(f"{text}..."),
    )
    console.print(_parity_table(rows))
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    _print(f"Bundle: {out}  ({size:.1f} MB, {time.monotonic() - begun:.0f} s)")


def _hnsw_settings(index: str, m: int | None, ef_construction: int | None) -> HnswSettings | None:
    given = {"m": m, "ef_construction": ef_construction}
    settings = {name: value for name, value in given.items() if value is not None}
    if index == "hnsw":
        return HnswSettings(**settings)
    if settings:
        raise typer.BadParameter("--hnsw-m and --hnsw-ef-construction need --index hnsw")
    return None


def _print(text: str) -> None:
    """Print a line as it is: a path may hold what rich takes for markup, and must not be broken over two lines."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _parity_table(rows: list[ParityRow]) -> Table:
    table = Table(
        title="Parity with PyTorch", caption="largest error relative to the largest value; wish: absolute"
    )
    for column in ("graph", "output", "batch", "length", "error", "bound"):
        table.add_column(column, justify="left" if column in ("graph", "output") else "right")
    for row in rows:
        table.add_row(
            row.graph,
            row.output,
            str(row.batch),
            str(row.length),
            f"{row.max_relative_error:.1e}",
            f"{row.bound:.0e}",
        )
    return table


def main() -> None:
    """Run ``dpr-export``: exit code 0, 1 if no bundle was written, 2 for wrong arguments."""
    try:
        app()
    except (ExportError, CheckpointError, DprError, OSError, ValueError) as error:
        Console(stderr=True).print(
            f"dpr-export: {error}", style="red", highlight=False, markup=False, soft_wrap=True
        )
        raise SystemExit(1) from None
