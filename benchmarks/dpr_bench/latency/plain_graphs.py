# The graphs that one exports of a model without thinking of serving: three modules, three calls of torch.onnx.
"""Export backbone, prompt encoder and the whole of Fusion + MoE, as they are."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from dpr_export.graph import ExportedGraph, Shape, export_graph
from dpr_train.model import DPR

__all__ = ["export_plain_graphs"]

_Ports = tuple[tuple[str, str, Shape], ...]


def export_plain_graphs(model: DPR, folder: Path) -> None:
    """Write ``backbone.onnx``, ``prompt_encoder.onnx`` and ``fusion.onnx``, each a module through torch.onnx.

    Nothing is rearranged for serving: the third goes from user, tokens and wishes to experts and gates, and so reads a
    prompt anew for every user.

    Parameters
    ----------
    model : DPR
        In evaluation mode.
    folder : Path
        Where to write; it is made.
    """
    user, token = model.config.backbone.dim, model.prompt_encoder.token_dim
    side, experts = model.config.steering.side_dim, len(model.fusion.roles)
    mask: _Ports = (("attention_mask", "int64", ("B", "T")),)
    tokens: _Ports = (("tokens", "float32", ("B", "T", token)),)
    wish: _Ports = (("wish", "float32", ("B", "G", 2)),)
    users: _Ports = (("user", "float32", ("B", user)),)
    graphs: dict[str, tuple[nn.Module, _Ports, _Ports]] = {
        "backbone": (model.backbone, (("items", "int64", ("B", "L")),), users),
        "prompt_encoder": (
            model.prompt_encoder,
            (("input_ids", "int64", ("B", "T")), *mask, ("tag_embeddings", "float32", ("G", token))),
            (*tokens, *wish, ("released", "float32", ("B", "G"))),
        ),
        "fusion": (
            model.fusion,
            (*users, *tokens, *mask, *wish, ("tag_vectors", "float32", ("G", side))),
            (
                ("experts", "float32", ("B", experts, user + side)),
                ("gates", "float32", ("B", experts)),
            ),
        ),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (module, inputs, outputs) in graphs.items():
        graph = ExportedGraph(f"{name}.onnx", inputs, outputs)
        export_graph(module, graph, folder / graph.file)
