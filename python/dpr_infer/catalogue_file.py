# catalogue.safetensors of a bundle: what it must hold, and the checks of values that do not need the core.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.index_tensors import BLOCK_ITEMS, INDEX_TENSOR_NAMES, PREFIX, map_index
from dpr_infer.manifest import Dims
from dpr_infer.manifest_index import IndexSizes
from dpr_infer.mapped_tensors import TensorFile
from dpr_infer.tag_book import has_unused_bits


@dataclass(frozen=True, slots=True)
class CatalogueArrays:
    """The arrays of a catalogue.

    Attributes
    ----------
    vectors : ndarray of float32, shape (items, item), read-only
        Item vectors, mapped from the file.
    tag_bits : ndarray of uint64, shape (items, tag_words), read-only
        Tag bitsets, mapped from the file.
    tag_embeddings : ndarray of float32, shape (tags, token)
        Embeddings of the tags' names.
    tag_vectors : ndarray of float32, shape (tags, side)
        Side vectors of the tags.
    index : dict of str to ndarray, or None
        The arrays of the quantised index, mapped from the file; None where the bundle has none.
    """

    vectors: NDArray[np.float32]
    tag_bits: NDArray[np.uint64]
    tag_embeddings: NDArray[np.float32]
    tag_vectors: NDArray[np.float32]
    index: dict[str, NDArray[Any]] | None


def read_catalogue(path: Path, dims: Dims, index: IndexSizes | None) -> CatalogueArrays:
    """Open a catalogue file.

    Parameters
    ----------
    path : Path
        The file.
    dims : Dims
        The sizes that the manifest states.
    index : IndexSizes or None
        Those of the quantised index; None where the bundle has none.

    Returns
    -------
    CatalogueArrays
        Vectors, bitsets and index stay on disk until they are read.

    Raises
    ------
    BundleError
        If the file is not valid safetensors, has other tensors, dtypes or shapes than docs/bundle_format.md
        says, sets bits past the last tag, or holds a number in the tags' arrays that is not finite. (Whether
        the item vectors are finite, and whether an index is one, is checked by the core, which reads them anyway.)
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "vectors": ("F32", (dims.items, dims.item)),
        "tag_bits": ("U64", (dims.items, dims.tag_words)),
        "tag_embeddings": ("F32", (dims.tags, dims.token)),
        "tag_vectors": ("F32", (dims.tags, dims.side)),
    }
    file = TensorFile(path)
    file.check_names((*shapes, *(() if index is None else INDEX_TENSOR_NAMES)))
    for name, (dtype, shape) in shapes.items():
        file.check(name, dtype, shape)
    arrays: dict[str, NDArray[Any]] = {
        name: file.map(name, dtype, shape) for name, (dtype, shape) in shapes.items()
    }
    if has_unused_bits(arrays["tag_bits"], dims.tags):
        raise BundleError(f"{path.name}: tag_bits must be 0 past the last of {dims.tags} tags; some are set")
    for name in ("tag_embeddings", "tag_vectors"):
        if not np.isfinite(arrays[name]).all():
            raise BundleError(f"{path.name}: {name} must be finite; it holds NaN or an infinity")
        # Small, and handed to every run of an engine: a plain array in memory serves that best.
        arrays[name] = np.array(arrays[name], dtype=np.float32)
    return CatalogueArrays(**arrays, index=None if index is None else _map_index(file, dims, index))


def _map_index(file: TensorFile, dims: Dims, sizes: IndexSizes) -> dict[str, NDArray[Any]]:
    """Map an index of the very sizes that the manifest states."""
    file.check(f"{PREFIX}rows", "U32", (sizes.blocks, BLOCK_ITEMS))
    file.check(f"{PREFIX}centres", "F32", (sizes.clusters, dims.item))
    return map_index(file, sizes.parts)
