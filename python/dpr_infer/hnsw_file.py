# The check of index.hnsw. hnswlib trusts what it reads: every number that it will follow is looked at before.

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError

# offsetLevel0, max_elements, cur_element_count, size_data_per_element, label_offset, offsetData, maxlevel,
# enterpoint_node, maxM, maxM0, M, mult, ef_construction: what hnswlib 0.8 writes before the elements.
_HEADER = struct.Struct("<6QiI3QdQ")
_SIZE = struct.Struct("<I")
_LINK_BYTES, _FLOAT_BYTES, _LABEL_BYTES = 4, 4, 8
_MAX_LEVEL = 64
_CHUNK_ITEMS = 65_536


@dataclass(frozen=True, slots=True)
class _Header:
    max_level: int
    entry: int


def check_hnsw_file(path: Path, vectors: NDArray[np.float32], m: int) -> None:
    """Check that a file is an index of these vectors, whose labels are the rows, and that no link leads nowhere.

    Parameters
    ----------
    path : Path
        A file that hnswlib 0.8 has written, or that says so.
    vectors : ndarray of float32, shape (N, D)
        The vectors.
    m : int
        How many links an item may have on the upper levels; on the lowest, twice as many.

    Raises
    ------
    BundleError
        If it is not.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise BundleError(f"{path.name} must be an HNSW index: {error}") from None
    _Check(path.name, content, vectors, m).run()


class _Check:
    """The check of one file."""

    def __init__(self, name: str, content: Any, vectors: NDArray[np.float32], m: int) -> None:
        self._name = name
        self._content = content
        self._vectors = vectors
        self._n, self._dim = vectors.shape
        self._m = m
        self._data_offset = _LINK_BYTES * (1 + 2 * m)  # a count, then up to 2 m links
        self._label_offset = self._data_offset + _FLOAT_BYTES * self._dim
        self._element_bytes = self._label_offset + _LABEL_BYTES
        self._level_bytes = _LINK_BYTES * (1 + m)
        self._upper = _HEADER.size + self._n * self._element_bytes  # where the upper levels begin

    def run(self) -> None:
        """Raise BundleError if something is wrong."""
        header = self._header()
        raw = np.frombuffer(self._content, np.uint8, self._n * self._element_bytes, _HEADER.size)
        elements = raw.reshape(self._n, self._element_bytes)
        self._check_labels(elements)
        for first in range(0, self._n, _CHUNK_ITEMS):
            self._check_elements(elements[first : first + _CHUNK_ITEMS])
        self._check_levels(header)

    def _header(self) -> _Header:
        if len(self._content) < self._upper:
            self._refuse(f"hold {self._n} items of {self._dim} dimensions; it is too short for them")
        got = _HEADER.unpack_from(self._content)
        sizes = (0, self._n, self._n, self._element_bytes, self._label_offset, self._data_offset)
        header = _Header(got[6], got[7])
        if (
            got[:6] != sizes
            or got[8:11] != (self._m, 2 * self._m, self._m)
            or header.entry >= self._n
            or not 0 <= header.max_level <= _MAX_LEVEL
        ):
            self._refuse(
                f"be an index of {self._n} items of {self._dim} dimensions with M = {self._m}, as hnswlib 0.8 "
                f"writes them; its header says {got}"
            )
        return header

    def _check_labels(self, elements: NDArray[np.uint8]) -> None:
        labels = np.ascontiguousarray(elements[:, self._label_offset :]).view("<u8")[:, 0]
        if not np.array_equal(np.sort(labels), np.arange(self._n, dtype=np.uint64)):
            self._refuse(f"label its items with the rows 0 to {self._n - 1}, each once")

    def _check_elements(self, elements: NDArray[np.uint8]) -> None:
        """Check vectors and links of the lowest level."""
        rows = np.ascontiguousarray(elements[:, self._label_offset :]).view("<u8")[:, 0]
        stored = np.ascontiguousarray(elements[:, self._data_offset : self._label_offset]).view("<u4")
        if not np.array_equal(stored, self._vectors[rows].view(np.uint32)):
            self._refuse("hold the vectors of the catalogue; one of them differs")
        links = np.ascontiguousarray(elements[:, : self._data_offset]).view("<u4")
        # The upper half of a count marks items as deleted; a bundle has none.
        if (links[:, 0] > 2 * self._m).any():
            self._refuse(f"have at most {2 * self._m} links an item and no deleted ones; one has more")
        used = np.arange(2 * self._m) < links[:, :1]
        if (links[:, 1:][used] >= self._n).any():
            self._refuse(f"link to items 0 to {self._n - 1}; one link leads elsewhere")

    def _check_levels(self, header: _Header) -> None:
        """Check the upper levels: hnswlib goes down from the entry, following links at each."""
        levels, begins = self._levels()
        if levels[header.entry] != header.max_level or levels.max() != header.max_level:
            self._refuse(
                f"enter at an item of its highest level; that is {levels.max()}, and it enters elsewhere"
            )
        for item in np.flatnonzero(levels).tolist():
            for level in range(1, levels[item] + 1):
                at = begins[item] + (level - 1) * self._level_bytes
                count, *links = struct.unpack_from(f"<{1 + self._m}I", self._content, at)
                if count > self._m:
                    self._refuse(f"have at most {self._m} links an item on its upper levels; one has {count}")
                if any(link >= self._n or levels[link] < level for link in links[:count]):
                    self._refuse(
                        f"link to items of the same level; one link on level {level} leads elsewhere"
                    )

    def _levels(self) -> tuple[NDArray[np.int64], dict[int, int]]:
        """Return the level of every item, and where the links of those begin that are on upper levels."""
        levels = np.zeros(self._n, dtype=np.int64)
        begins: dict[int, int] = {}
        at, end = self._upper, len(self._content)
        for item in range(self._n):
            if at + _SIZE.size > end:
                self._refuse("be whole; it ends among the links of its upper levels")
            (size,) = _SIZE.unpack_from(self._content, at)
            at += _SIZE.size
            if size:
                levels[item], rest = divmod(size, self._level_bytes)
                if rest:
                    self._refuse(f"have {self._level_bytes} bytes of links an item and level; one has {size}")
                begins[item] = at
                at += size
        if at != end:
            self._refuse(f"end with its last link, at byte {at}; it has {end} bytes")
        return levels, begins

    def _refuse(self, must: str) -> NoReturn:
        raise BundleError(f"{self._name} must {must}")
