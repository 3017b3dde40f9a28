# Indexes of peers take minutes to build; they are kept between runs, under a name that tells what was built of what.
"""A folder of built indexes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Built", "IndexCache", "digest_of"]

Index = TypeVar("Index")


@dataclass(frozen=True)
class Built(Generic[Index]):
    """An index, the seconds that building it took, and its bytes on disk (None if it was not kept)."""

    index: Index
    build_s: float
    n_bytes: int | None


def digest_of(vectors: npt.NDArray[np.float32]) -> str:
    """Tell vectors apart.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        C order.

    Returns
    -------
    str
        16 hexadecimal digits of a hash over shape and content.
    """
    digest = hashlib.sha256(repr(vectors.shape).encode())
    digest.update(vectors.data)
    return digest.hexdigest()[:16]


class IndexCache:
    """Builds an index, or loads the one that was built of the same vectors in the same way.

    Parameters
    ----------
    folder : Path or None
        Where indexes are kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def holds(self, setup: dict[str, Any], digest: str) -> bool:
        """Whether an index is there already."""
        path = self._path(setup, digest)
        return path is not None and path.exists()

    def get(
        self,
        setup: dict[str, Any],
        digest: str,
        build: Callable[[], Index],
        save: Callable[[Index, str], object],
        load: Callable[[str], Index],
    ) -> Built[Index]:
        """Load an index, or build and keep it.

        Parameters
        ----------
        setup : dict
            Library, version and every setting of the build; JSON values.
        digest : str
            Of the vectors.
        build, save, load : callable
            Makes the index; writes it to a path (a file or a folder); reads it.

        Returns
        -------
        Built
            The index, and what it took when it was built.
        """
        path = self._path(setup, digest)
        if path is None:
            begun = perf_counter()
            return Built(build(), perf_counter() - begun, None)
        note = path.with_suffix(".json")
        if path.exists():
            build_s = float(json.loads(note.read_text(encoding="utf-8"))["build_s"])
            return Built(load(str(path)), build_s, _bytes_of(path))
        begun = perf_counter()
        index = build()
        build_s = perf_counter() - begun
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        save(index, str(unfinished))
        note.write_text(json.dumps({**setup, "build_s": build_s}, indent=2) + "\n", encoding="utf-8")
        unfinished.rename(path)
        return Built(index, build_s, _bytes_of(path))

    def _path(self, setup: dict[str, Any], digest: str) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256(json.dumps(setup, sort_keys=True).encode()).hexdigest()[:12]
        return self._folder / f"{setup['library']}-{digest}-{key}.index"


def _bytes_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
