"""Sequential backbones behind one protocol."""

from __future__ import annotations

from dpr_train.backbones.base import Backbone
from dpr_train.backbones.gru4rec import GRU4Rec
from dpr_train.backbones.sasrec import SASRec
from dpr_train.config import BackboneConfig

__all__ = ["Backbone", "GRU4Rec", "SASRec", "build_backbone"]


def build_backbone(config: BackboneConfig, n_items: int) -> Backbone:
    """Make the backbone that the configuration names, freshly initialised.

    Parameters
    ----------
    config : BackboneConfig
        Kind and sizes.
    n_items : int
        Size of the catalogue.
    """
    if config.kind == "sasrec":
        return SASRec(
            n_items,
            config.dim,
            config.max_history,
            blocks=config.blocks,
            heads=config.heads,
            dropout=config.dropout,
        )
    return GRU4Rec(n_items, config.dim, config.max_history, hidden=config.hidden, dropout=config.dropout)
