# Items added to a copy of a bundle, without training: what `Recommender.add_items` does, on disk.

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer._core import build_index
from dpr_infer.bundle import Bundle, disk_errors, open_bundle
from dpr_infer.bundle_folder import seal, whole_folder
from dpr_infer.engines.choice import EngineChoice
from dpr_infer.errors import BundleError, QueryError
from dpr_infer.index_tensors import index_entry, index_tensors
from dpr_infer.item_places import ItemPlaces, PlacedItems, list_items
from dpr_infer.manifest import ADDED_ITEMS_VERSION, MANIFEST_NAME, Manifest
from dpr_infer.opened import OpenOptions, open_all

_CATALOGUE, _ITEMS = "catalogue.safetensors", "items.parquet"
_LEAST_VERSION = 3


def extend_bundle(
    path: str | PathLike[str],
    out: str | PathLike[str],
    item_ids: Iterable[str],
    *,
    vectors: ArrayLike | None = None,
    titles: Iterable[str] | None = None,
    tags: Iterable[Iterable[str]] | None = None,
    texts: Iterable[str] | None = None,
    force: bool = False,
    threads: int = 1,
) -> Manifest:
    """Write a copy of a bundle that has more items.

    It answers as a recommender of the first bundle to which the same items were added by `Recommender.add_items`, bit
    for bit. Its index is built anew over all items; an index.hnsw is taken over as it is, and the new items are
    candidates of every query.

    Parameters
    ----------
    path : path-like
        A bundle of format version 3 or later. Every byte of it is verified.
    out : path-like
        The new bundle's folder. It exists afterwards whole, or as it was before.
    item_ids, vectors, titles, tags, texts
        As for `Recommender.add_items`; at least one item.
    force : bool
        Replace a bundle that stands at `out`.
    threads : int
        Threads that building the index may use, >= 1.

    Returns
    -------
    Manifest
        The new bundle's manifest.

    Raises
    ------
    BundleError
        If the first bundle is not whole, or has a version before 3.
    QueryError
        As `Recommender.add_items`; if there is no item; or if `out` is taken.
    OSError
        If the new bundle cannot be written.
    """
    listed = list_items(item_ids, vectors, titles, tags, texts)
    if not listed.ids:
        raise QueryError("there must be items to add; got none")
    bundle = open_bundle(path, verify="full")
    if bundle.manifest.format_version < _LEAST_VERSION:
        raise BundleError(
            f"items can be added to bundles from format version {_LEAST_VERSION} on; {path} has version "
            f"{bundle.manifest.format_version}: export it anew"
        )
    taken = [item_id for item_id in listed.ids if item_id in bundle.items]
    if taken:
        raise QueryError(f"item_ids must be new; the bundle has {taken[0]!r}")
    with whole_folder(Path(out), force=force, error=QueryError) as folder:
        _fill(folder, bundle, ItemPlaces(bundle).place(listed), threads)
        engines = EngineChoice(threads=threads)
        options = OpenOptions(engines=engines, prompt_cache_size=0, verify="full", index="exact", ef=1)
        return open_all(folder, options).bundle.manifest


def _fill(folder: Path, bundle: Bundle, new: PlacedItems, threads: int) -> None:
    # Here, and not above: it brings the standard library's email along, which an import can do without.
    from importlib.metadata import version

    manifest = bundle.manifest
    parts = list(manifest.dims.parts)
    tensors = _tensors(bundle, new)
    try:
        index = index_tensors(build_index(tensors["vectors"], parts=parts, threads=threads))
    except ValueError as error:
        raise QueryError(f"the items cannot be added: {error}") from error
    _write(folder, bundle, new, tensors | index)
    with disk_errors(bundle.path / MANIFEST_NAME):
        entries = json.loads((bundle.path / MANIFEST_NAME).read_bytes())
    entries["format_version"] = max(manifest.format_version, ADDED_ITEMS_VERSION)
    entries["dims"] |= {"items": len(tensors["vectors"]), "trained_items": manifest.dims.trained_items}
    entries["index"] = index_entry(index, parts)
    if manifest.hnsw is not None:
        entries["hnsw"]["items"] = manifest.hnsw.items
    entries["made_by"] |= {
        "extended_by": f"dpr_infer {version('dpr-infer')}",
        "extended_from_manifest_sha256": bundle.manifest_sha256,
    }
    seal(folder, entries)


def _tensors(bundle: Bundle, new: PlacedItems) -> dict[str, NDArray[Any]]:
    arrays = bundle.catalogue
    return {
        "vectors": np.concatenate([arrays.vectors, new.vectors]),
        "tag_bits": np.concatenate([arrays.tag_bits, new.tag_bits]),
        "tag_embeddings": arrays.tag_embeddings,
        "tag_vectors": arrays.tag_vectors,
    }


def _write(folder: Path, bundle: Bundle, new: PlacedItems, tensors: dict[str, NDArray[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        items = pq.read_table(bundle.path / _ITEMS)
    except pa.ArrowException as error:  # a column that the runtime does not read
        raise BundleError(f"{_ITEMS} must have columns that can be copied: {error}") from error
    try:
        longer = _longer(items, new)
    except UnicodeEncodeError as error:
        raise QueryError(f"the items must be named in Unicode: {error}") from error
    pq.write_table(longer, folder / _ITEMS)
    for name in bundle.manifest.files.keys() - {_CATALOGUE, _ITEMS}:
        shutil.copyfile(bundle.path / name, folder / name)
    try:
        save_file(tensors, folder / _CATALOGUE)
    except SafetensorError as error:
        raise OSError(f"{folder / _CATALOGUE}: {error}") from error


def _longer(items: Any, new: PlacedItems) -> Any:
    """Return the table of items with new ones behind; columns that only the bundle has are null there."""
    import pyarrow as pa

    columns = {"item_id": new.ids, "title": new.titles, "tags": [list(entry) for entry in new.tags]}
    schema = pa.schema([field.with_nullable(True) for field in items.schema], metadata=items.schema.metadata)
    nothing = [None] * len(new.ids)
    rows = [pa.array(columns.get(field.name, nothing), field.type) for field in schema]
    return pa.concat_tables([items.cast(schema), pa.Table.from_arrays(rows, schema=schema)])
