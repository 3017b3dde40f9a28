# Opens a bundle folder: nothing in it is used before it has been checked (docs/bundle_format.md, "What
# opening checks").

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from dpr_infer.catalogue_file import CatalogueArrays, read_catalogue
from dpr_infer.errors import BundleError, QueryError
from dpr_infer.graph_contract import check_declared
from dpr_infer.items import ItemTable
from dpr_infer.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from dpr_infer.onnx_file import check_onnx_file
from dpr_infer.tables import check_tag_bits, read_examples, read_items

SMALL_FILE_BYTES = 2**20
# Where engines that were built for one machine are kept: a cache, no part of the bundle, and never needed.
ENGINES_FOLDER = "engines"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle.

    Attributes
    ----------
    path : Path
        Its folder, without symbolic links.
    manifest : Manifest
        What it says of itself.
    manifest_sha256 : str
        The manifest's own SHA-256; as it lists those of the other files, it stands for the whole bundle.
    catalogue : CatalogueArrays
        Item vectors, tag bitsets, tag vectors and the quantised index.
    items : ItemTable
        Ids, titles and tags.
    examples : dict of str to tuple of str
        Example histories by name.
    """

    path: Path
    manifest: Manifest
    manifest_sha256: str
    catalogue: CatalogueArrays
    items: ItemTable
    examples: dict[str, tuple[str, ...]]


def open_bundle(path: str | PathLike[str], *, verify: str = "fast") -> Bundle:
    """Open a bundle and check it.

    Parameters
    ----------
    path : path-like
        The folder.
    verify : {"fast", "full"}
        "fast" compares the SHA-256 of the files below 1 MiB, "full" that of every file.

    Returns
    -------
    Bundle
        The bundle. That its graphs and its tokenizer are what they should be shows where they are loaded.

    Raises
    ------
    BundleVersionError
        If the format version is not known.
    BundleError
        If anything does not hold that docs/bundle_format.md says of a bundle.
    QueryError
        If `verify` is neither.
    """
    if verify not in ("fast", "full"):
        raise QueryError(f'verify must be "fast" or "full"; got {verify!r}')
    with disk_errors(path):
        return _open(Path(path), verify)


def _open(folder: Path, verify: str) -> Bundle:
    _check_folder(folder)
    # A link to the current bundle may be turned to the next one meanwhile.
    folder = folder.resolve()
    text = _read_manifest_text(folder)
    manifest = parse_manifest(text)
    check_declared(manifest)
    check_files(folder, manifest)
    check_hashes(folder, manifest, None if verify == "full" else SMALL_FILE_BYTES)
    for graph in manifest.graphs.values():
        check_onnx_file(folder / graph.file, graph.opset)
    catalogue = read_catalogue(folder / "catalogue.safetensors", manifest.dims, manifest.index)
    items = read_items(folder / "items.parquet", manifest.dims.items)
    check_tag_bits(items, manifest.tags, catalogue.tag_bits)
    examples = read_examples(folder / "examples.parquet", items)
    return Bundle(folder, manifest, hashlib.sha256(text).hexdigest(), catalogue, items, examples)


def check_unchanged(bundle: Bundle) -> None:
    """Check that a bundle's folder still holds that bundle, once all of it has been opened.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.

    Raises
    ------
    BundleError
        If another one was put there meanwhile: files of both may have been opened.
    """
    with disk_errors(bundle.path):
        text = _read_manifest_text(bundle.path)
    if hashlib.sha256(text).hexdigest() != bundle.manifest_sha256:
        raise BundleError(f"{bundle.path} must not change while it is opened; another bundle was put there")


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bundle folder, and nothing else.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    Manifest
        Its manifest.

    Raises
    ------
    BundleError
        If the folder or its manifest is missing, too large, or wrong.
    """
    with disk_errors(folder):
        _check_folder(folder)
        return parse_manifest(_read_manifest_text(folder))


def check_files(folder: Path, manifest: Manifest) -> None:
    """Check that a folder holds exactly the files of its manifest, as regular files of the sizes stated.

    Parameters
    ----------
    folder : Path
        The folder.
    manifest : Manifest
        Its manifest.

    Raises
    ------
    BundleError
        Naming the first file that is missing, not listed, a link or a folder, or of another size.
    """
    with disk_errors(folder):
        present = {entry.name for entry in folder.iterdir()} - {MANIFEST_NAME}
    if ENGINES_FOLDER in present - manifest.files.keys():
        _check_cache_folder(folder / ENGINES_FOLDER)
        present.remove(ENGINES_FOLDER)
    for name in sorted(manifest.files.keys() - present):
        raise BundleError(f"{name} must be in the bundle, for its manifest lists it; it is missing")
    for name in sorted(present - manifest.files.keys()):
        raise BundleError(f"{name} must not be in the bundle, for its manifest does not list it")
    for name, entry in manifest.files.items():
        size = _regular_file_bytes(folder / name)
        if size != entry.bytes:
            raise BundleError(f"{name} must have {entry.bytes} bytes; got {size}")


def check_hashes(folder: Path, manifest: Manifest, below_bytes: int | None) -> None:
    """Compare files with the SHA-256 that the manifest states.

    Parameters
    ----------
    folder : Path
        The folder.
    manifest : Manifest
        Its manifest.
    below_bytes : int or None
        Only read files smaller than this; None for every file.

    Raises
    ------
    BundleError
        Naming the first file that differs.
    """
    for name, entry in manifest.files.items():
        if below_bytes is not None and entry.bytes >= below_bytes:
            continue
        check_hash(folder, name, entry)


def check_hash(folder: Path, name: str, entry: FileEntry) -> None:
    """Compare one file with the SHA-256 that the manifest states, raising BundleError if it differs."""
    with disk_errors(folder / name), (folder / name).open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != entry.sha256:
        raise BundleError(f"{name} must have the SHA-256 {entry.sha256}; got {got}")


@contextmanager
def disk_errors(path: str | PathLike[str]) -> Iterator[None]:
    """Turn an OSError into a BundleError that names the file: a disk that fails, rights that are missing.

    Parameters
    ----------
    path : path-like
        What is read, where the error does not say.
    """
    try:
        yield
    except OSError as error:
        name = Path(error.filename if isinstance(error.filename, str) else path).name
        raise BundleError(f"{name} must be readable: {error.strerror or error}") from error


def _check_cache_folder(folder: Path) -> None:
    """Check that built engines are kept in this folder and nowhere else: whoever follows a link writes there, too."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise BundleError(f"{folder.name} must be a folder, for it is where built engines are kept")
    with disk_errors(folder):
        for path in folder.rglob("*"):
            mode = path.lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                name = path.relative_to(folder.parent).as_posix()
                raise BundleError(f"{name} must be a regular file or a folder, not a link or a device")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise BundleError(f"a bundle must be a folder; {str(folder)!r} is none")


def _read_manifest_text(folder: Path) -> bytes:
    file = folder / MANIFEST_NAME
    size = _regular_file_bytes(file)
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST_NAME} must have at most {MAX_MANIFEST_BYTES} bytes; got {size}")
    return file.read_bytes()


def _regular_file_bytes(path: Path) -> int:
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(f"{path.name} must be in the bundle: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"{path.name} must be a regular file, not a link, folder or device")
    return status.st_size
