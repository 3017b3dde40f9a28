# Dropout for CPUs: torch draws 53 random bits an element, which takes a quarter of a training step of a small model.
"""Dropout that draws eight random bits an element."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["QuickDropout", "make_dropout", "quick_dropout"]

_LEVELS = 256


def quick_dropout(x: Tensor, p: float) -> Tensor:
    """Set elements to 0 with a probability of ``p``, rounded to 1/256, and scale the others so that means are kept.

    Parameters
    ----------
    x : Tensor
        Any shape and float type.
    p : float
        In [0, 1).

    Returns
    -------
    Tensor
        Of the same shape and type.
    """
    cut = min(round(p * _LEVELS), _LEVELS - 1)
    if cut == 0:
        return x
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(torch.uint8)[: x.numel()].view(x.shape)
    return x * ((bits >= cut).to(x.dtype) * (_LEVELS / (_LEVELS - cut)))


class QuickDropout(nn.Module):
    """:func:`quick_dropout` while training, nothing in evaluation.

    Parameters
    ----------
    p : float
        In [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape in, the same out."""
        return quick_dropout(x, self.p) if self.training else x


def make_dropout(p: float, *, quick: bool) -> nn.Module:
    """Make :class:`QuickDropout`, or torch's own."""
    return QuickDropout(p) if quick else nn.Dropout(p)
