# How training sequences are cut into windows, and windows put into batches. A window's tokens are right-aligned.
"""Training windows of stage 1, and their batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dpr_train.backbones import Backbone
from dpr_train.sequences import IntArray, masked_windows, training_windows

__all__ = ["batches_of_windows", "epoch_windows"]


def epoch_windows(
    backbone: Backbone, sequences: Sequence[IntArray], rng: np.random.Generator, *, mask_share: float
) -> tuple[IntArray, IntArray]:
    """Cut sequences into what the backbone learns from: inputs and targets, int64 (W, L).

    Parameters
    ----------
    backbone : Backbone
        Its objective decides.
    sequences : sequence of int64 arrays
        Item rows in time order.
    rng : numpy.random.Generator
        Offsets and masks.
    mask_share : float
        Share of the items that the objective "masked" hides.
    """
    if backbone.objective == "masked":
        return masked_windows(sequences, backbone.max_history + 1, rng, mask_share)
    return training_windows(sequences, backbone.max_history, rng)


def batches_of_windows(
    lengths: IntArray, rng: np.random.Generator, *, batch_size: int, batch_tokens: int | None
) -> list[IntArray]:
    """Rows of every batch of an epoch, in the order of training.

    Parameters
    ----------
    lengths : int64 (W,)
        Tokens of each window.
    rng : numpy.random.Generator
        Shuffles.
    batch_size : int
        Windows a batch, if ``batch_tokens`` is None; the last batch has what is left.
    batch_tokens : int or None
        Puts windows of about the same length together, until a batch has this many tokens: hardly any padding, and
        about as many examples in each batch.
    """
    if batch_tokens is None:
        order = rng.permutation(len(lengths))
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    # The noise changes from epoch to epoch which windows meet.
    order = np.argsort(lengths + rng.uniform(0, 8, len(lengths)), kind="stable")
    full = np.cumsum(lengths[order]) // batch_tokens  # number of the batch that each window ends in
    batches = np.split(order, np.flatnonzero(np.diff(full)) + 1)
    return [batches[i] for i in rng.permutation(len(batches))]
