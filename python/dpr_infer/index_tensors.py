# The arrays of a catalogue's index as tensors of a file: names, dtypes, shapes. What they must hold is the core's to
# check, which reads them anyway.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.mapped_tensors import TensorFile

PREFIX = "index."
BLOCK_ITEMS = 64
BOUND_KINDS = 7
_CODE_ERROR = 1  # of the seven bounds of a block, the one that says how far codes are from vectors
_QUAD = 4
INDEX_NAMES = ("codes", "rows", "cluster", "bounds", "centres")
INDEX_TENSOR_NAMES = tuple(PREFIX + name for name in INDEX_NAMES)


def empty_index(parts: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return the arrays of an index of no items; the core makes none.

    Parameters
    ----------
    parts : sequence of int
        Widths of the parts of a vector.

    Returns
    -------
    dict of str to ndarray
        Arrays of the shapes that `map_index` names, with no block and no cluster.
    """
    return {
        "codes": np.empty((0, _n_quads(parts), BLOCK_ITEMS, _QUAD), np.uint8),
        "rows": np.empty((0, BLOCK_ITEMS), np.uint32),
        "cluster": np.empty(0, np.uint32),
        "bounds": np.empty((len(parts), BOUND_KINDS, 0), np.float32),
        "centres": np.empty((0, sum(parts)), np.float32),
    }


def index_tensors(index: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Name the arrays of an index as a file has them.

    Parameters
    ----------
    index : mapping of str to ndarray
        The arrays as `dpr_infer._core.build_index` returns them; other keys are passed over.

    Returns
    -------
    dict of str to ndarray
        The same arrays under ``index.codes``, ``index.rows``, ``index.cluster``, ``index.bounds``, ``index.centres``.
    """
    return {PREFIX + name: index[name] for name in INDEX_NAMES}


def index_entry(tensors: Mapping[str, NDArray[Any]], parts: Sequence[int]) -> dict[str, Any]:
    """Say of an index what the manifest of a bundle does.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        Tensors as `index_tensors` names them.
    parts : sequence of int
        Widths of the parts of a vector.

    Returns
    -------
    dict
        What is to be written under the key "index".
    """
    bounds = tensors[PREFIX + "bounds"]  # (P, 7, blocks)
    return {
        "blocks": len(tensors[PREFIX + "codes"]),
        "clusters": len(tensors[PREFIX + "centres"]),
        "parts": list(parts),
        "code_error": bounds[:, _CODE_ERROR].max(axis=1).astype(float).tolist(),
    }


def map_index(file: TensorFile, parts: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Map the arrays of an index.

    Parameters
    ----------
    file : TensorFile
        An opened file that holds the tensors `INDEX_TENSOR_NAMES`.
    parts : sequence of int, length P
        Widths of the parts that an item vector consists of; D is their sum.

    Returns
    -------
    dict of str to ndarray
        What `dpr_infer._core.Catalogue` takes as ``index``, read-only: codes uint8 (n_blocks, n_quads, 64, 4), rows
        uint32 (n_blocks, 64), cluster uint32 (n_blocks,), bounds float32 (P, 7, n_blocks), centres float32
        (n_clusters, D).

    Raises
    ------
    BundleError
        If a dtype or shape is another one, or a tensor is not aligned to its item size.
    """
    n_quads = _n_quads(parts)
    (n_blocks, *_) = file.check(PREFIX + "codes", "U8", (None, n_quads, BLOCK_ITEMS, _QUAD))
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "codes": ("U8", (n_blocks, n_quads, BLOCK_ITEMS, _QUAD)),
        "rows": ("U32", (n_blocks, BLOCK_ITEMS)),
        "cluster": ("U32", (n_blocks,)),
        "bounds": ("F32", (len(parts), BOUND_KINDS, n_blocks)),
        "centres": ("F32", (None, sum(parts))),
    }
    return {name: file.map(PREFIX + name, dtype, shape) for name, (dtype, shape) in expected.items()}


def _n_quads(parts: Sequence[int]) -> int:
    return sum(-(-width // _QUAD) for width in parts)
