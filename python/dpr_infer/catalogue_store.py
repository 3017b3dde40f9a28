# The file of a catalogue of bare vectors (docs/catalogue.md, "The file"): written whole or not at all, and read
# without trust.

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer import _core
from dpr_infer.core_errors import core_errors
from dpr_infer.errors import BundleError, BundleVersionError, QueryError
from dpr_infer.index_tensors import INDEX_TENSOR_NAMES, empty_index, index_tensors, map_index
from dpr_infer.mapped_tensors import TensorFile
from dpr_infer.strict_json import JsonNode, load_value
from dpr_infer.tag_book import TagBook, has_unused_bits

FORMAT = "dpr-catalogue"
FORMAT_VERSION = "1"
_MAX_PART = 65_536
# A row takes a few bits of memory for ever; without a limit, a tiny file could ask for all there is.
_MAX_ROWS = 2**31 - 1
_NEW_FILE_MODE = 0o666  # less the umask, as any file that a program makes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCatalogue:
    """What a catalogue's file holds.

    Attributes
    ----------
    vectors : ndarray of float32, shape (N, D)
        Item vectors.
    tag_bits : ndarray of uint64, shape (N, W), or None
        Tag bitsets; None where the catalogue has no tags.
    row_ids : ndarray of int64, shape (N,)
        The rows of the items.
    available : ndarray of bool, shape (N,)
        False where an item is switched off.
    index : dict of str to ndarray
        The index, as `dpr_infer.index_tensors.map_index` returns it.
    parts : tuple of int
        Widths of the parts of a vector.
    tags : TagBook or None
        The names of the tags.
    n_rows : int
        Rows given out so far.
    """

    vectors: NDArray[np.float32]
    tag_bits: NDArray[np.uint64] | None
    row_ids: NDArray[np.int64]
    available: NDArray[np.bool_]
    index: dict[str, NDArray[Any]]
    parts: tuple[int, ...]
    tags: TagBook | None
    n_rows: int


def write_catalogue(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    *,
    parts: Sequence[int],
    tags: Sequence[str] | None,
    n_rows: int,
) -> None:
    """Write a catalogue's file in place of what is there.

    Parameters
    ----------
    path : Path
        The file; its folder must exist.
    arrays : mapping of str to ndarray
        What `dpr_infer._core.Catalogue.arrays` returns.
    parts : sequence of int
        Widths of the parts of a vector.
    tags : sequence of str or None
        Names of the tags.
    n_rows : int
        Rows given out so far.

    Raises
    ------
    QueryError
        If a reader would refuse so many rows.
    OSError
        If it cannot be written; what was at `path` is still there then.
    """
    from safetensors.numpy import save_file

    if n_rows > _MAX_ROWS:
        raise QueryError(f"a file must have at most {_MAX_ROWS} rows; the catalogue has given out {n_rows}")
    names = ["vectors", "row_ids", "available", *(["tag_bits"] if tags is not None else [])]
    index = index_tensors(arrays if len(arrays["vectors"]) else empty_index(parts))
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "parts": json.dumps(list(parts)),
        "tags": json.dumps(None if tags is None else list(tags), ensure_ascii=False),
        "n_rows": str(n_rows),
    }
    with _replacing(path) as partial:
        save_file({name: arrays[name] for name in names} | index, partial, metadata)


def read_catalogue_file(path: Path) -> StoredCatalogue:
    """Open a catalogue's file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    StoredCatalogue
        Large arrays stay on disk until they are read.

    Raises
    ------
    BundleVersionError
        If the format version is not known.
    BundleError
        If the file is not a valid one. (That vectors are finite and that the index is one of these items is checked
        by the core, which reads them anyway.)
    """
    file = TensorFile(path)
    _check_format(file)
    parts, tags, n_rows = _parts(file), _tags(file), _n_rows(file)
    names = ["vectors", "row_ids", "available", *INDEX_TENSOR_NAMES]
    file.check_names([*names, "tag_bits"] if tags is not None else names)
    n_items, _ = file.check("vectors", "F32", (None, sum(parts)))
    available = file.map("available", "BOOL", (n_items,))
    if (available.view(np.uint8) > 1).any():
        raise BundleError(f"{path.name}: available must hold 0 and 1 alone; it holds another byte")
    return StoredCatalogue(
        vectors=file.map("vectors", "F32", (n_items, sum(parts))),
        tag_bits=None if tags is None else _tag_bits(file, n_items, tags),
        row_ids=file.map("row_ids", "I64", (n_items,)),
        available=available,
        index=map_index(file, parts),
        parts=parts,
        tags=tags,
        n_rows=n_rows,
    )


def open_catalogue(path: Path, *, verify: str) -> tuple[_core.Catalogue, TagBook | None]:
    """Open a catalogue's file and make a core catalogue of it.

    Parameters
    ----------
    path : Path
        The file.
    verify : {"fast", "full"}
        "full" also recomputes every bound of the index.

    Returns
    -------
    core : dpr_infer._core.Catalogue
        The catalogue, its arrays mapped.
    book : TagBook or None
        Its tags.

    Raises
    ------
    BundleVersionError, BundleError
        As `read_catalogue_file`; also if a vector is not finite or the index is not one of these items.
    QueryError
        If `verify` is neither.
    """
    if verify not in ("fast", "full"):
        raise QueryError(f'verify must be "fast" or "full"; got {verify!r}')
    _core.simd_level()  # a level forced wrongly is no fault of the file: let it raise before one is opened
    stored = read_catalogue_file(path)
    if not len(stored.vectors):
        return _core_without_items(stored, path), stored.tags
    with core_errors(BundleError, path.name):
        core = _core.Catalogue(
            stored.vectors,
            stored.tag_bits,
            index=stored.index,
            parts=list(stored.parts),
            row_ids=stored.row_ids,
            n_rows=stored.n_rows,
        )
        if verify == "full":
            core.check_index()
        core.set_available(stored.row_ids[~stored.available], False)
    return core, stored.tags


def _core_without_items(stored: StoredCatalogue, path: Path) -> _core.Catalogue:
    """Make a catalogue that all items were removed from: the core makes none without any."""
    if not stored.n_rows or len(stored.index["rows"]) or len(stored.index["centres"]):
        raise BundleError(
            f"{path.name}: without items there must be no block and no cluster, but rows given out"
        )
    parts = list(stored.parts)
    vectors = np.zeros((1, sum(parts)), np.float32)
    tag_bits = None if stored.tags is None else np.zeros((1, stored.tags.words), np.uint64)
    index = _core.build_index(vectors, parts=parts)
    core = _core.Catalogue(vectors, tag_bits, index=index, parts=parts, n_rows=stored.n_rows)
    core.remove(np.zeros(1, np.int64))
    core.compact()
    return core


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Lend a new file beside `path`; at the end it takes its place on disk, unless something was raised."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _NEW_FILE_MODE)
    mode = os.fstat(descriptor).st_mode & 0o777
    os.close(descriptor)
    try:
        yield partial
        partial.chmod(mode)  # the library may have put a file of its own there, for its owner alone
        _to_disk(partial)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_format(file: TensorFile) -> None:
    got = file.metadata.get("format")
    if got != FORMAT:
        raise BundleError(
            f"{file.name}: format must be {FORMAT!r}; got {'none' if got is None else repr(got[:50])}"
        )
    version = file.metadata.get("format_version", "none")
    if version != FORMAT_VERSION:
        raise BundleVersionError(
            f"{file.name}: format_version must be {FORMAT_VERSION}, the one this dpr-infer reads; got {version[:50]}"
        )


def _json(file: TensorFile, key: str) -> JsonNode:
    place = f"{file.name}: {key}"
    if key not in file.metadata:
        raise BundleError(f"{place} must be in the metadata; it is missing")
    return load_value(file.metadata[key].encode("utf-8"), place)


def _parts(file: TensorFile) -> tuple[int, ...]:
    node = _json(file, "parts")
    parts = tuple(width.integer(1, _MAX_PART) for width in node.elements())
    if len(parts) not in (1, 2):
        node.fail("one or two widths")
    return parts


def _tags(file: TensorFile) -> TagBook | None:
    node = _json(file, "tags")
    if node.value is None:
        return None
    try:
        return TagBook(name.string() for name in node.elements())
    except QueryError as error:
        raise BundleError(f"{node.place}: {error}") from None


def _n_rows(file: TensorFile) -> int:
    text = file.metadata.get("n_rows", "none")
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > _MAX_ROWS:
        raise BundleError(f"{file.name}: n_rows must be a number from 0 to {_MAX_ROWS}; got {text[:50]!r}")
    return int(text)


def _tag_bits(file: TensorFile, n_items: int, tags: TagBook) -> NDArray[np.uint64]:
    tag_bits: NDArray[np.uint64] = file.map("tag_bits", "U64", (n_items, tags.words))
    if has_unused_bits(tag_bits, len(tags.names)):
        raise BundleError(
            f"{file.name}: tag_bits must be 0 past the last of {len(tags.names)} tags; some are set"
        )
    return tag_bits
