# dpr-export: parse, call, exit code.
"""Command line of the exporter."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.table import Table

from dpr_export.engines import build_tensorrt
from dpr_export.errors import ExportError
from dpr_export.hnsw import HnswSettings
from dpr_export.int8_loss import INT8_LOSS
from dpr_export.triton import check_destination, write_triton
from dpr_export.validate import ParityRow
from dpr_export.write_bundle import export_bundle
from dpr_infer import DprError
from dpr_infer._optional import require_tensorrt
from dpr_infer.engines.profiles import MAX_BATCH
from dpr_infer.manifest import MANIFEST_NAME
from dpr_train.checkpoint import CheckpointError

__all__ = ["main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
console = Console()


@app.command()
def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint folder that dpr-train left; or a bundle, for --engine and --triton alone.",
            metavar="CHECKPOINT|BUNDLE",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Bundle folder to write. Needed with a checkpoint.")
    ] = None,
    prompt_encoder: Annotated[
        Literal["fp32", "int8"] | None,
        typer.Option(help="Precision of the prompt encoder's weights.  [default: fp32]"),
    ] = None,
    backbone: Annotated[
        Literal["fp32", "int8"] | None,
        typer.Option(
            help="Precision of the backbone's weights; int8 is for SASRec and BERT4Rec.  [default: fp32]"
        ),
    ] = None,
    text_encoder: Annotated[
        Literal["fp32", "int8"] | None,
        typer.Option(
            help="Add the encoder that reads the texts of items that are added later, of this precision: 23 MB in int8 "
            "for all-MiniLM-L6-v2, 91 in fp32.  [default: none]",
        ),
    ] = None,
    text_encoder_from: Annotated[
        Path | None,
        typer.Option(
            help="Hugging Face folder of the encoder that read the texts in training.  [default: all-MiniLM-L6-v2]"
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where all-MiniLM-L6-v2 is kept.  [default: the user's cache]")
    ] = None,
    int8_loss: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Most that int8 may lose. Prompt encoder, on validation prompts: share of prompts whose wishes "
            "change, polarity, top 10, obedience. Backbone, on the bundle's histories: top 10, share of NDCG@10. "
            "Both together: top 10, obedience. Text encoder: cosine of the items' places.  "
            f"[default: {INT8_LOSS}]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands at --out or --triton.")] = False,
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
    engine: Annotated[
        Literal["tensorrt"] | None,
        typer.Option(help="Build engines for this machine into the bundle's engines/. Needs an NVIDIA GPU."),
    ] = None,
    engine_precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="What the engines compute in.  [default: fp32]"),
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_536,
            help=f"Most queries in one call of an engine or of Triton.  [default: {MAX_BATCH}]",
        ),
    ] = None,
    triton: Annotated[
        Path | None, typer.Option(help="Write a model repository for Triton Inference Server there.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that torch uses.")] = 2,
) -> None:
    """Compile a checkpoint into a bundle, compare it with PyTorch, and write it whole or not at all.

    Then, or for a bundle that there is: build engines, write a model repository.
    """
    hnsw = _hnsw_settings(index, hnsw_m, hnsw_ef_construction)
    if int8_loss is not None and "int8" not in (prompt_encoder, backbone, text_encoder):
        raise typer.BadParameter(
            "--int8-loss needs --prompt-encoder int8, --backbone int8 or --text-encoder int8"
        )
    if text_encoder_from is not None and text_encoder is None:
        raise typer.BadParameter("--text-encoder-from needs --text-encoder")
    _check_wishes(engine, engine_precision, max_batch, triton, force=force)
    torch.set_num_threads(threads)
    only_for_checkpoints = {
        "--out": out,
        "--prompt-encoder": prompt_encoder,
        "--backbone": backbone,
        "--text-encoder": text_encoder,
        "--index": hnsw,
    }
    bundle = _bundle_at(source, [name for name, value in only_for_checkpoints.items() if value is not None])
    if bundle is None:
        if out is None:
            raise typer.BadParameter("with a checkpoint, give --out")
        begun = time.monotonic()
        rows = export_bundle(
            source,
            out,
            precision=prompt_encoder or "fp32",
            backbone_precision=backbone or "fp32",
            text_encoder=_text_encoder(text_encoder, text_encoder_from, cache_dir),
            force=force,
            hnsw=hnsw,
            int8_loss=int8_loss,
            say=_say,
        )
        _report(out, rows, time.monotonic() - begun)
        bundle = out
    elif engine is None and triton is None:
        raise typer.BadParameter("with a bundle, give --engine or --triton")
    max_batch = max_batch or MAX_BATCH
    if engine is not None:
        for plan in build_tensorrt(
            bundle, precision=engine_precision or "fp32", max_batch=max_batch, say=_say
        ):
            _print(f"Plan: {plan}")
    if triton is not None:
        write_triton(bundle, triton, max_batch=max_batch, force=force)
        _print(f"Model repository: {triton}")


def _check_wishes(
    engine: str | None, precision: str | None, max_batch: int | None, triton: Path | None, *, force: bool
) -> None:
    """Tell at once, and not after a minute of work, what can't be done."""
    if engine is None and precision is not None:
        raise typer.BadParameter("--engine-precision needs --engine tensorrt")
    if engine is None and triton is None and max_batch is not None:
        raise typer.BadParameter("--max-batch needs --engine tensorrt or --triton")
    if engine is not None:
        require_tensorrt()
    if triton is not None:
        check_destination(triton, force=force)


def _bundle_at(source: Path, only_for_checkpoints: list[str]) -> Path | None:
    """Return the source if it is a bundle, where some options are then out of place."""
    if not (source / MANIFEST_NAME).is_file():
        return None
    if only_for_checkpoints:
        raise typer.BadParameter(
            f"{', '.join(only_for_checkpoints)}: for a checkpoint; {source} is a bundle, which stays as it is"
        )
    return source


def _report(out: Path, rows: list[ParityRow], seconds: float) -> None:
    console.print(_parity_table(rows))
    manifest = json.loads((out / MANIFEST_NAME).read_bytes())
    tables = {"prompt_encoder": _loss_table, "backbone": _backbone_table, "text_encoder": _text_table}
    for part, table in tables.items():
        if "int8" in manifest.get(part, {}):
            console.print(table(manifest[part]["int8"]))
    if "int8_with_prompt_encoder" in manifest.get("backbone", {}):
        console.print(_joint_table(manifest["backbone"]["int8_with_prompt_encoder"]))
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    _print(f"Bundle: {out}  ({size:.1f} MB, {seconds:.0f} s)")


def _text_encoder(
    precision: str | None, source: Path | None, cache_dir: Path | None
) -> tuple[Path, str] | None:
    if precision is None:
        return None
    if source is not None:
        return source, precision
    try:  # only here: fetching takes the packages of training
        import pooch

        from dpr_train.encoders import FetchError, fetch_minilm
    except ImportError as error:
        raise ExportError(
            f"--text-encoder: expected --text-encoder-from, or dpr-infer[train] to fetch all-MiniLM-L6-v2; {error}"
        ) from error
    try:
        return fetch_minilm(cache_dir or Path(pooch.os_cache("dpr-infer"))), precision
    except FetchError as error:
        raise ExportError(f"--text-encoder: {error}") from error


def _say(text: str) -> None:
    _print(f"{text}...")


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


def _loss_table(loss: dict[str, Any]) -> Table:
    table = _pairs_table(
        "prompt encoder", f"{loss['prompts']} validation prompts, {loss['queries']} queries", loss
    )
    table.add_row("wishes changed", "", f"{loss['wishes_changed']:.1%}")
    for name in ("understood", "polarity", "obedience"):
        table.add_row(name, *(f"{value:.1%}" for value in loss[name]))
    table.add_row("top 10 in common", "", f"{loss['overlap']:.1%}")
    return table


def _backbone_table(loss: dict[str, Any]) -> Table:
    caption = f"{loss['queries']} histories, {loss['next_items']} with a next item"
    table = _pairs_table("backbone", caption, loss)
    table.add_row("top 10 in common", "", f"{loss['overlap']:.1%}")
    table.add_row("the same, in batches", "", f"{loss['overlap_in_batches']:.1%}")
    table.add_row("NDCG@10 of the next item", *(f"{value:.4f}" for value in loss["ndcg"]))
    return table


def _text_table(loss: dict[str, Any]) -> Table:
    table = _pairs_table("text encoder", f"{loss['items']} items of the catalogue", loss)
    table.add_row("cosine of the places, mean", "", f"{loss['cosine']:.4f}")
    table.add_row("the least", "", f"{loss['least_cosine']:.4f}")
    return table


def _joint_table(loss: dict[str, Any]) -> Table:
    table = _pairs_table("both together", f"{loss['queries']} validation prompts, each with a history", loss)
    table.add_row("obedience", *(f"{value:.1%}" for value in loss["obedience"]))
    table.add_row("top 10 in common", "", f"{loss['overlap']:.1%}")
    table.add_row("the same, in batches", "", f"{loss['overlap_in_batches']:.1%}")
    return table


def _pairs_table(part: str, caption: str, loss: dict[str, Any]) -> Table:
    table = Table(
        title=f"{part}: int8 against float32", caption=f"{caption}; at most {loss['limit']:g} may be lost"
    )
    for column in ("", "float32", "int8"):
        table.add_column(column, justify="right" if column else "left")
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
