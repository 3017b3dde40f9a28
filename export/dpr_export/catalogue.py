# Everything of the bundle that is an array: item vectors, tag bitsets, what tags look like to the graphs.
"""Write ``catalogue.safetensors``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file

from dpr_export.errors import ExportError
from dpr_train.model import DPR

__all__ = ["catalogue_tensors", "pack_tags", "write_catalogue"]


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
def catalogue_tensors(model: DPR) -> dict[str, npt.NDArray[np.generic]]:
    """The tensors of docs/bundle_format.md, by name.

    Raises
    ------
    ExportError
        If a vector is not finite; names tensor, row and column.
    """
    tensors = {
        "vectors": model.item_vectors().numpy(),
        "tag_bits": pack_tags(model.tag_matrix.numpy() > 0),
        "tag_embeddings": model.tag_embeddings.numpy(),
        "tag_vectors": model.tag_vectors.numpy(),
    }
    for name, values in tensors.items():
        if values.dtype == np.float32 and not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise ExportError(
                f"{name}: expected finite values, got {values[row, column]} in row {row}, column {column}"
            )
    return {name: np.ascontiguousarray(values) for name, values in tensors.items()}


def write_catalogue(tensors: dict[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Write the tensors to ``path``; safetensors orders them so that each starts at a multiple of its item size."""
    save_file(tensors, path)
