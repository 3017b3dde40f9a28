# index.hnsw: opened with hnswlib, which proposes rows for query vectors. Scores and order are the kernel's to say.

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpr_infer._optional import import_hnswlib
from dpr_infer.bundle import Bundle, check_hash
from dpr_infer.errors import BundleError
from dpr_infer.manifest_index import HNSW_FILE

# offsetLevel0, max_elements, cur_element_count, size_data_per_element, label_offset, offsetData, maxlevel,
# enterpoint_node, maxM, maxM0, M, mult, ef_construction: what hnswlib 0.8 writes before the elements.
_HEADER = struct.Struct("<6QiI3QdQ")
_LINK_BYTES, _FLOAT_BYTES, _LABEL_BYTES = 4, 4, 8
_TOO_FEW = "contiguous 2D array"  # how hnswlib says that it came upon fewer than k items


class HnswIndex:
    """The approximate index of a bundle.

    hnswlib trusts what it reads, so the whole file is compared with its checksum before, and its header with the
    catalogue. That guards against damage and mistakes, not against a bundle that was forged with its checksums.

    Parameters
    ----------
    bundle : Bundle
        The opened bundle.
    threads : int
        Threads for a batch, >= 1.

    Attributes
    ----------
    n_items : int
        How many items it knows: rows 0 to `n_items` - 1.

    Raises
    ------
    BundleError
        If the bundle has no index.hnsw, or it is not that of this catalogue.
    MissingExtraError
        If hnswlib is not installed.
    """

    def __init__(self, bundle: Bundle, *, threads: int) -> None:
        manifest, path = bundle.manifest, bundle.path / HNSW_FILE
        if manifest.hnsw is None:
            raise BundleError(
                f"{HNSW_FILE} must be in a bundle for index='hnsw'; this one has none: export it with --index hnsw"
            )
        hnswlib = import_hnswlib()
        check_hash(bundle.path, HNSW_FILE, manifest.files[HNSW_FILE])
        self.n_items, dim, self._threads = manifest.dims.items, manifest.dims.item, threads
        _check_elements(path, self.n_items, dim, manifest.hnsw.m)
        self._index = hnswlib.Index(space="ip", dim=dim)
        try:
            self._index.load_index(str(path), max_elements=self.n_items)
        except RuntimeError as error:
            raise BundleError(f"{HNSW_FILE} must be an index that hnswlib can load: {error}") from error

    def candidates(self, points: NDArray[np.float32], count: int) -> list[NDArray[np.int64]]:
        """Propose rows of items with large inner products. Safe from several threads at once.

        Parameters
        ----------
        points : ndarray of float32, shape (B, D)
            Query vectors, finite.
        count : int
            Rows a query, from 1 to `n_items`. hnswlib keeps at least as many items in view.

        Returns
        -------
        list of ndarray of int64, length B
            `count` rows each, in no order to rely on; none for a query of which the graph did not yield that many.
        """
        try:
            labels, _ = self._index.knn_query(points, k=count, num_threads=self._threads)
        except RuntimeError as error:
            if _TOO_FEW not in str(error):
                raise
            if len(points) == 1:
                return [np.empty(0, dtype=np.int64)]
            # One such query makes hnswlib give up the whole batch.
            return [rows for point in points for rows in self.candidates(point[np.newaxis], count)]
        return list(labels.astype(np.int64))


def _check_elements(path: Path, n_items: int, dim: int, m: int) -> None:
    """Check that the file holds every row once, as vectors of this width, with links as the manifest says."""
    data_offset = _LINK_BYTES * (1 + 2 * m)  # a count, then up to 2 m links
    label_offset = data_offset + _FLOAT_BYTES * dim
    element_bytes = label_offset + _LABEL_BYTES
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
    if path.stat().st_size < _HEADER.size + n_items * element_bytes:
        raise BundleError(
            f"{HNSW_FILE} must hold {n_items} items of {dim} dimensions; it is too short for them"
        )
    got = _HEADER.unpack(start)
    expected = (0, n_items, n_items, element_bytes, label_offset, data_offset)
    if got[:6] != expected or got[8:11] != (m, 2 * m, m) or got[7] >= n_items:
        raise BundleError(
            f"{HNSW_FILE} must be an index of {n_items} items of {dim} dimensions with M = {m}, as hnswlib 0.8 "
            f"writes them; its header says {got}"
        )
    elements = np.memmap(path, np.uint8, "r", _HEADER.size, (n_items, element_bytes))
    labels = np.ascontiguousarray(elements[:, label_offset:]).view("<u8")[:, 0]
    if not np.array_equal(np.sort(labels), np.arange(n_items, dtype=np.uint64)):
        raise BundleError(f"{HNSW_FILE} must label its items with the rows 0 to {n_items - 1}, each once")
