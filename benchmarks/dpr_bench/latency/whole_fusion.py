# Fusion as one graph, as one exports a model without thinking of what can be kept with a prompt.
"""Export Fusion + MoE as a whole."""

from __future__ import annotations

from pathlib import Path

from dpr_export.graph import ExportedGraph, Shape, export_graph
from dpr_train.model import DPR

__all__ = ["export_whole_fusion"]


def export_whole_fusion(model: DPR, path: Path) -> None:
    """Write one graph from user, tokens and wishes to experts and gates: what bundles before format version 4 had.

    Parameters
    ----------
    model : DPR
        In evaluation mode.
    path : Path
        The .onnx file to write.
    """
    user, token = model.config.backbone.dim, model.prompt_encoder.token_dim
    side, experts = model.config.steering.side_dim, len(model.fusion.roles)
    ids: Shape = ("B", "T")
    inputs: tuple[tuple[str, str, Shape], ...] = (
        ("user", "float32", ("B", user)),
        ("tokens", "float32", ("B", "T", token)),
        ("attention_mask", "int64", ids),
        ("wish", "float32", ("B", "G", 2)),
        ("tag_vectors", "float32", ("G", side)),
    )
    outputs: tuple[tuple[str, str, Shape], ...] = (
        ("experts", "float32", ("B", experts, user + side)),
        ("gates", "float32", ("B", experts)),
    )
    export_graph(model.fusion, ExportedGraph(path.name, inputs, outputs), path)
