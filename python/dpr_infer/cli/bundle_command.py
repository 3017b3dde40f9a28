# dpr-bundle: says what a bundle is, and whether it is whole.

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dpr_infer.bundle import check_files, read_manifest
from dpr_infer.cli.bundle_screen import show_manifest
from dpr_infer.cli.screen import make_console
from dpr_infer.graph_contract import check_declared
from dpr_infer.recommender import Recommender

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, no_args_is_help=True
)
_Folder = Annotated[Path, typer.Argument(help="Bundle folder.", show_default=False)]


@app.callback()
def bundle_commands() -> None:
    """Inspect and verify bundles."""


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
