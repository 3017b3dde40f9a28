# Writes a bundle's folder whole or not at all: beside its place, brought to the disk, and then renamed.

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dpr_infer.manifest import FORMAT, MANIFEST_NAME


@contextmanager
def whole_folder(out: Path, *, force: bool, error: type[Exception]) -> Iterator[Path]:
    """Lend a folder to fill; at the end it takes its place, unless something was raised.

    Parameters
    ----------
    out : Path
        Where the bundle is to be. Folders above it are made.
    force : bool
        Replace a bundle that stands there. Anything else is never replaced.
    error : type of Exception
        What to raise.

    Yields
    ------
    Path
        An empty folder, for `seal` to finish. A process that is killed leaves it behind under a name that begins with a
        dot, and nothing at `out`; what stood there, it leaves there or, in the instant of replacing it, in that folder.

    Raises
    ------
    Exception
        Of the type `error`, if `out` is taken, before and after.
    """
    check_destination(out, force=force, error=error)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as holder:
        # The bundle itself lies one level down: the holder is private to this user, a bundle need not be.
        folder = Path(holder) / "bundle"
        folder.mkdir()
        yield folder
        _finish(folder)
        check_destination(out, force=force, error=error)  # it was long ago that this was asked first
        put_in_place(folder, out, Path(holder) / "replaced")
    _to_disk(out.parent)


def check_destination(out: Path, *, force: bool, error: type[Exception]) -> None:
    """Raise `error` unless nothing stands at `out`, or a bundle that may be replaced."""
    if not os.path.lexists(out):
        return
    if not _is_bundle(out):
        raise error(
            f"{out}: expected a new folder, or a bundle to replace; got something else, left untouched"
        )
    if not force:
        raise error(f"{out}: expected a new folder, got an existing bundle; --force replaces it")


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with the sizes and checksums of the files that lie in a folder.

    Parameters
    ----------
    folder : Path
        The bundle's folder.
    manifest : dict
        The manifest; its key "files" is set.
    """
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST_NAME)
    manifest["files"] = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files}
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def put_in_place(folder: Path, out: Path, replaced: Path) -> None:
    """Rename a finished folder; what stood in its place is moved aside first, and back if that fails or is interrupted.

    Parameters
    ----------
    folder : Path
        What is finished, on the file system of `out`.
    out : Path
        Its place.
    replaced : Path
        Where to move what stands there.
    """
    if not out.exists():
        folder.rename(out)
        return
    out.rename(replaced)
    try:
        folder.rename(out)
    except BaseException:  # an interrupt, too: whoever made `replaced` deletes what is left in it
        if not out.exists():
            replaced.rename(out)
        raise


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_bundle(folder: Path) -> bool:
    """Whether a folder says that it is a bundle, whole or not; many other things have a manifest.json, too."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("format") == FORMAT


def _finish(folder: Path) -> None:
    """Bring all files to the disk, with the rights of any file that a program makes."""
    mode = (folder / MANIFEST_NAME).stat().st_mode & 0o777
    for path in folder.iterdir():
        path.chmod(mode)  # safetensors makes files for their owner alone
        _to_disk(path)
    _to_disk(folder)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
