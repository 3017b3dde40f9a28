# dpr-bundle: says what a bundle is, whether it is whole, and adds items to a copy of it.

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dpr_infer.bundle import check_files, read_manifest
from dpr_infer.bundle_extension import extend_bundle
from dpr_infer.cli.bundle_screen import show_manifest
from dpr_infer.cli.screen import make_console
from dpr_infer.graph_contract import check_declared
from dpr_infer.item_file import ItemFile, read_item_file
from dpr_infer.recommender import Recommender

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
)
_Folder = Annotated[Path, typer.Argument(help="Bundle folder.", show_default=False)]


@app.callback()
def bundle_commands() -> None:
    """Inspect, verify and extend bundles."""


@app.command()
def inspect(
    bundle: _Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a bundle is: sizes, experts, tags, parity, licence, files. Reads the manifest alone."""
    manifest = read_manifest(bundle)
    check_declared(manifest)
    check_files(bundle, manifest)
    if as_json:
        sys.stdout.write(json.dumps(asdict(manifest), ensure_ascii=False, indent=2) + "\n")
    else:
        show_manifest(make_console(), bundle, manifest)


@app.command()
def verify(bundle: _Folder) -> None:
    """Compare every byte with its checksum and load the graphs; fails naming the file that is wrong."""
    recommender = Recommender(bundle, verify="full")
    files = recommender.manifest.files
    size = sum(entry.bytes for entry in files.values())
    sys.stdout.write(f"{bundle}: whole; {len(files)} files, {size} bytes, {len(recommender.items)} items\n")


@app.command(name="add-items")
def add_items(
    bundle: _Folder,
    items: Annotated[
        Path, typer.Option(help="CSV or Parquet with the columns id, title, tags and perhaps text.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that stands at --out.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads that building the index may use.")] = 1,
) -> None:
    """Write a copy of a bundle that has more items; no training, and whole or not at all.

    Where an item lies is said by its tags, which must be tags of the bundle, and, if the bundle has a text encoder, by
    its title and text.
    """
    read = read_item_file(items)
    for name in read.ignored:
        sys.stderr.write(f"{items.name}: column {name!r}: it is not used\n")
    reads_texts = read_manifest(bundle).text_encoder is not None
    if not reads_texts:
        _tell_what_is_not_read(items.name, read)
    try:
        manifest = extend_bundle(
            bundle,
            out,
            read.ids,
            titles=read.titles,
            tags=read.tags,
            texts=read.texts if reads_texts else None,
            force=force,
            threads=threads,
        )
    except OSError as error:
        sys.stderr.write(f"error: {out} cannot be written: {error.strerror or error}\n")
        raise typer.Exit(1) from error
    total = manifest.dims.items
    sys.stdout.write(
        f"{out}: {total} items, {len(read.ids)} of them new; bundle format {manifest.format_version}\n"
    )


def _tell_what_is_not_read(name: str, read: ItemFile) -> None:
    """Say what a bundle without a text encoder makes of items with texts, and of those without tags."""
    way_out = "the bundle has no text encoder; dpr-export --text-encoder int8 makes one that has"
    if any(read.texts or ()):
        sys.stderr.write(f"{name}: column 'text': not read, items lie where their tags say: {way_out}\n")
    lost = [item_id for item_id, tags in zip(read.ids, read.tags, strict=True) if not tags]
    if lost:
        count = f"{len(lost)} of {len(read.ids)} items have no tags"
        sys.stderr.write(f"{name}: {count}, and no prompt finds them ({lost[0]!r}): {way_out}\n")
