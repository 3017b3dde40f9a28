# Weights in few bits: what lets a trained prompt encoder ship with the package.
"""Round matrices to small integers with a scale a group."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from dpr_train.prompt_encoder import PromptEncoder

__all__ = ["EMBEDDING_GROUP", "EMBEDDING_LEVELS", "decode", "encode", "round_embeddings"]

FloatArray = npt.NDArray[np.float32]

EMBEDDING_LEVELS = 7  # codes -7..7: four bits
EMBEDDING_GROUP = 64


def encode(
    matrix: FloatArray, *, levels: int, group: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Codes int8 (R, C) in ``-levels..levels`` and scales float16 (R, C / group), whose product is near the matrix.

    Encoding what :func:`decode` gave returns the same codes and scales.

    Parameters
    ----------
    matrix : ndarray
        float32 (R, C), C a multiple of ``group``.
    levels : int
        1 to 127.
    group : int
        How many neighbours in a row share a scale.
    """
    parts = matrix.reshape(len(matrix), -1, group)  # (R, C / group, group)
    scales = (np.abs(parts).max(-1) / levels).astype(np.float16)
    steps = np.where(scales == 0, np.float32(1), scales.astype(np.float32))[..., None]
    codes = np.clip(np.rint(parts / steps), -levels, levels).astype(np.int8)
    return codes.reshape(matrix.shape), scales


def decode(codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float16]) -> FloatArray:
    """float32 (R, C) from :func:`encode`'s codes and scales."""
    parts = codes.reshape(len(codes), scales.shape[1], -1).astype(np.float32)
    return (parts * scales.astype(np.float32)[..., None]).reshape(codes.shape)


@torch.no_grad()
def round_embeddings(encoder: PromptEncoder) -> None:
    """Round the word embeddings to four bits in place, before training: it then fits what will be shipped."""
    weight = encoder.encoder.embeddings.word_embeddings.weight  # type: ignore[union-attr]
    codes, scales = encode(weight.numpy(), levels=EMBEDDING_LEVELS, group=EMBEDDING_GROUP)  # type: ignore[operator]
    weight.copy_(torch.from_numpy(decode(codes, scales)))  # type: ignore[operator]
