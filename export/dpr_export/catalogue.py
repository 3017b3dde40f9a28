# Everything of the bundle that is an array: item vectors, their index, tag bitsets, what tags look like to the graphs.
"""Write ``catalogue.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file

from dpr_export.errors import ExportError
from dpr_infer._core import build_index
from dpr_infer.index_tensors import index_entry, index_tensors
from dpr_train.model import DPR

__all__ = ["catalogue_tensors", "index_sizes", "pack_tags", "write_catalogue"]


def pack_tags(tag_matrix: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Pack bool (N, G) into uint64 (N, max(1, ceil(G / 64))): tag g is bit g % 64 of word g // 64.

    Examples
    --------
    >>> pack_tags(np.array([[True, False, True]])).tolist()
    [[5]]
    """
    n_items, n_tags = tag_matrix.shape
    words = max(1, -(-n_tags // 64))
    padded = np.zeros((n_items, words * 64), dtype=np.bool_)
    padded[:, :n_tags] = tag_matrix
    packed = np.packbits(padded, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


@torch.no_grad()
def catalogue_tensors(model: DPR) -> dict[str, npt.NDArray[Any]]:
    """The tensors of docs/bundle_format.md, by name, the index among them.

    Raises
    ------
    ExportError
        If a vector is not finite; names tensor, row and column.
    """
    tensors = {
        "vectors": model.item_vectors().numpy(),
        "tag_bits": pack_tags(model.carries),
        "tag_embeddings": model.tag_embeddings.numpy(),
        "tag_vectors": model.tag_vectors.numpy(),
    }
    for name, values in tensors.items():
        if values.dtype == np.float32 and not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise ExportError(
                f"{name}: expected finite values, got {values[row, column]} in row {row}, column {column}"
            )
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    # As many threads as PyTorch may use; the number does not change the index.
    index = build_index(tensors["vectors"], parts=_parts(model), threads=torch.get_num_threads())
    return tensors | index_tensors(index)


def index_sizes(model: DPR, tensors: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """What the manifest says of the index among the tensors of :func:`catalogue_tensors`."""
    return index_entry(tensors, _parts(model))


def _parts(model: DPR) -> list[int]:
    """Widths of c and w, which are quantised apart."""
    return [width for width in (model.config.backbone.dim, model.config.steering.side_dim) if width]


def write_catalogue(tensors: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """Write the tensors to ``path``; safetensors orders them so that each starts at a multiple of its item size."""
    save_file(tensors, path)
