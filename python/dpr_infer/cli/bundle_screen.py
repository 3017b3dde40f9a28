# Draws a bundle's manifest on a terminal.

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dpr_infer.cli.screen import visible
from dpr_infer.index_tensors import BLOCK_ITEMS
from dpr_infer.manifest import Dims, Manifest
from dpr_infer.manifest_index import HNSW_FILE, HnswEntry

_HEADING, _FAINT = "bold", "dim"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def show_manifest(console: Console, folder: Path, manifest: Manifest) -> None:
    """Print what a bundle is.

    Parameters
    ----------
    console : Console
        Where to print.
    folder : Path
        The bundle's folder.
    manifest : Manifest
        Its manifest.
    """
    console.print(Text(f"{folder}  (bundle format {manifest.format_version})", style=_HEADING))
    console.print(_summary(manifest))
    console.print(_experts(manifest))
    console.print(_parity(manifest))
    if manifest.hnsw is not None:
        console.print(_recall(manifest.hnsw))
    console.print(_files(manifest))


def readable_bytes(count: int) -> str:
    """Return a size in the largest unit that leaves at least 1, with three digits.

    Examples
    --------
    >>> readable_bytes(999), readable_bytes(2_500_000)
    ('999 B', '2.38 MiB')
    """
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{size:.3g} {_UNITS[unit]}"


def _summary(manifest: Manifest) -> Table:
    dims = manifest.dims
    phi = manifest.phi if manifest.phi == "relu" else f"softplus, gain {manifest.gain:g}"
    licence = "may be redistributed" if manifest.redistributable else "not for redistribution"
    rows = {
        "Catalogue": f"{dims.items} items x {dims.item} ({dims.user} collaborative + {dims.side} side){_added(dims)}",
        "Tags": f"{dims.tags}: " + ", ".join(manifest.tags),
        "Backbone": manifest.backbone_precision,
        "Limits": f"{manifest.history_limit} items a history, {manifest.prompt_token_limit} tokens a prompt",
        "Index": _index(manifest),
        "HNSW": _hnsw(manifest),
        "Prompts": f"{manifest.encoder_base}, {manifest.encoder_precision}, {dims.token} wide; "
        f"wishes count from {manifest.wish_threshold:g}",
        "Texts": _texts(manifest),
        "Penalty": phi,
        "Made by": ", ".join(f"{key} {value}" for key, value in manifest.made_by.items()),
        "Licence": f"{licence}. Data: {manifest.licence_data}. Weights: {manifest.licence_weights}",
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_FAINT)
    grid.add_column()
    for name, value in rows.items():
        grid.add_row(name, Text(visible(value)))
    return grid


def _added(dims: Dims) -> str:
    added = dims.items - dims.trained_items
    return f", {added} of them added without training" if added else ""


def _texts(manifest: Manifest) -> str:
    if manifest.text_encoder is None:
        return "no text encoder; items are added by tags alone"
    return (
        f"{', '.join(manifest.text_encoder)}; {manifest.text_token_limit} tokens, {manifest.dims.text} wide"
    )


def _index(manifest: Manifest) -> str:
    index = manifest.index
    if index is None:
        return "none in this format version; built in memory when the bundle is opened"
    errors = _and(f"{error:.3g}" for error in index.code_error)
    return (
        f"{index.blocks} blocks of {BLOCK_ITEMS} items in {index.clusters} clusters, "
        f"{readable_bytes(index.bytes)}; "
        f"codes lie at most {errors} from the parts of a vector ({_and(index.parts)} wide)"
    )


def _hnsw(manifest: Manifest) -> str:
    if manifest.hnsw is None:
        return "none"
    size = readable_bytes(manifest.files[HNSW_FILE].bytes)
    known = "" if manifest.hnsw.items == manifest.dims.items else f"the first {manifest.hnsw.items} items, "
    return f"{known}M {manifest.hnsw.m}, ef_construction {manifest.hnsw.ef_construction}, {size}"


def _and(numbers: Iterable[object]) -> str:
    return " and ".join(map(str, numbers))


def _recall(hnsw: HnswEntry) -> Table:
    efs = sorted({row.ef for row in hnsw.recall})
    shares = {(row.queries, row.k, row.ef): f"{row.recall:.4f}" for row in hnsw.recall}
    measured = hnsw.measured_on
    title = (
        f"Recall of HNSW: {measured.examples} example and {measured.drawn} drawn histories, "
        f"{len(measured.prompts)} prompts"
    )
    table = _table(title, "queries", "k", *(f"ef {ef}" for ef in efs))
    for queries, k in dict.fromkeys((row.queries, row.k) for row in hnsw.recall):
        table.add_row(queries, str(k), *(shares.get((queries, k, ef), "") for ef in efs))
    return table


def _experts(manifest: Manifest) -> Table:
    table = _table("Experts", "name", "role", "bias")
    for expert in manifest.experts:
        table.add_row(Text(visible(expert.name)), expert.role, f"{expert.bias:g}")
    return table


def _parity(manifest: Manifest) -> Table:
    keys = list(dict.fromkeys(key for row in manifest.parity_rows for key in row))
    table = _table("Parity with the model it was made from: passed", *(visible(key) for key in keys))
    for row in manifest.parity_rows:
        table.add_row(*(Text(_cell(row.get(key, ""))) for key in keys))
    return table


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else visible(str(value))


def _files(manifest: Manifest) -> Table:
    table = _table("Files", "name", "size", "SHA-256")
    table.columns[1].justify = "right"
    for name, entry in manifest.files.items():
        table.add_row(Text(name), readable_bytes(entry.bytes), Text(entry.sha256, style=_FAINT))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=Text(title, style=_HEADING),
        title_style=_HEADING,
        title_justify="left",
        header_style=_FAINT,
        box=None,
    )
    for column in columns:
        table.add_column(column)
    return table
