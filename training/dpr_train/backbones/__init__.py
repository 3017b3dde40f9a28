"""Sequential backbones behind one protocol."""

from __future__ import annotations

from typing import Any

from dpr_train.backbones.base import Backbone
from dpr_train.backbones.bert4rec import BERT4Rec
from dpr_train.backbones.gru4rec import GRU4Rec
from dpr_train.backbones.sasrec import SASRec
from dpr_train.config import BackboneConfig

__all__ = ["BERT4Rec", "Backbone", "GRU4Rec", "SASRec", "build_backbone"]


def build_backbone(config: BackboneConfig, n_items: int) -> Backbone:
    """Make the backbone that the configuration names, freshly initialised.

    Parameters
    ----------
    config : BackboneConfig
        Kind and sizes.
    n_items : int
        Size of the catalogue.
    """
    sizes = (n_items, config.dim, config.max_history)
    if config.kind == "gru4rec":
        return GRU4Rec(*sizes, hidden=config.hidden, dropout=config.dropout)
    options: dict[str, Any] = config.model_dump(include={"blocks", "heads", "dropout", "quick_dropout"})
    if config.kind == "bert4rec":
        return BERT4Rec(*sizes, **options)
    return SASRec(*sizes, relative_bias=config.relative_bias, **options)
