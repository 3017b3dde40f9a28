# index.hnsw: opened with hnswlib, which proposes rows for query vectors. Scores and order are the kernel's to say.

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dpr_infer._optional import import_hnswlib
from dpr_infer.bundle import Bundle, check_hash
from dpr_infer.errors import BundleError
from dpr_infer.hnsw_file import check_hnsw_file
from dpr_infer.manifest_index import HNSW_FILE

_TOO_FEW = "contiguous 2D array"  # how hnswlib says that it came upon fewer than k items


class HnswIndex:
    """The approximate index of a bundle.

    hnswlib trusts what it reads, so the whole file is compared with its checksum before, and all that hnswlib will
    follow is checked.

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
        self.n_items, dim, self._threads = manifest.hnsw.items, manifest.dims.item, threads
        check_hnsw_file(path, bundle.catalogue.vectors[: self.n_items], manifest.hnsw.m)
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
