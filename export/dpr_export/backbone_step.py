# GRU4Rec as a graph that goes on: what a session reads new items with. Written node by node: torch.export freezes the
# length of a sequence whose first state is given.
"""The graph ``backbone_step`` of a recurrent backbone."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor

from dpr_export.graph import OPSET, ExportedGraph
from dpr_export.node_list import NodeList
from dpr_export.recurrent_graph import gru_constants, item_table
from dpr_train.backbones import Backbone, GRU4Rec

__all__ = ["export_backbone_step", "state_after", "state_width"]


def state_width(backbone: Backbone) -> int:
    """Width of the state that a backbone can go on from; 0 if it cannot."""
    return backbone.gru.hidden_size if isinstance(backbone, GRU4Rec) else 0


def export_backbone_step(backbone: Backbone, folder: Path) -> dict[str, ExportedGraph]:
    """Write ``backbone_step.onnx`` for a backbone that can go on from a state.

    Parameters
    ----------
    backbone : Backbone
        In evaluation mode.
    folder : Path
        Where to write.

    Returns
    -------
    dict
        What the graph takes and gives, by its name; empty if the backbone cannot, and nothing is written.
    """
    if not isinstance(backbone, GRU4Rec):
        return {}
    user, state = ("B", backbone.dim), ("B", backbone.gru.hidden_size)
    graph = ExportedGraph(
        "backbone_step.onnx",
        (("items", "int64", ("B", "L")), ("state", "float32", state)),
        (("user", "float32", user), ("next_state", "float32", state)),
    )
    model = _nodes(backbone).model("backbone_step", graph.inputs, graph.outputs, opset=OPSET)
    onnx.save_model(model, folder / graph.file)
    return {"backbone_step": graph}


def _nodes(backbone: GRU4Rec) -> NodeList:
    nodes, gru, out = NodeList(), backbone.gru, backbone.out
    add, first = nodes.add, nodes.ints(0)
    embedded = add("Gather", item_table(nodes, backbone), "items")  # (B, L, d)
    nodes.add_with(
        "GRU",
        add("Transpose", embedded, perm=[1, 0, 2]),
        *gru_constants(nodes, gru),
        "",
        add("Unsqueeze", "state", first),  # (1, B, H)
        outputs=["", "last"],
        hidden_size=gru.hidden_size,
        linear_before_reset=1,
    )
    add("Squeeze", "last", first, output="next_state")
    weight, bias = (nodes.floats(part.detach().numpy()) for part in (out.weight, out.bias))
    add("Gemm", "next_state", weight, bias, output="user", transB=1)
    return nodes


def state_after(backbone: Backbone, tokens: Tensor, state: Tensor) -> Tensor:
    """Return PyTorch's own state: int64 (B, L) and float32 (B, H) to float32 (B, H)."""
    assert isinstance(backbone, GRU4Rec)
    _, last = backbone.gru(backbone.item_embedding(tokens) * backbone.dim**0.5, state[None])
    return torch.as_tensor(last[0])
