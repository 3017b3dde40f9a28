# GRU4Rec as a graph that goes on: what a session reads new items with. Written node by node: torch.export freezes the
# length of a sequence whose first state is given.
"""The graph ``backbone_step`` of a recurrent backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from dpr_export.graph import OPSET, ExportedGraph
from dpr_export.recurrent_graph import gru_parameter
from dpr_train.backbones import Backbone, GRU4Rec

__all__ = ["export_backbone_step", "state_after", "state_width"]

_IR_VERSION = 10


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
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, types[dtype], shape) for name, dtype, shape in ports]
        for ports in (graph.inputs, graph.outputs)
    )
    constants = [numpy_helper.from_array(array, name) for name, array in _constants(backbone).items()]
    proto = helper.make_graph(_nodes(backbone), "backbone_step", inputs, outputs, constants)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save_model(model, folder / graph.file)
    return {"backbone_step": graph}


def _nodes(backbone: GRU4Rec) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gather", ["table", "items"], ["embedded"]),  # (B, L, d)
        helper.make_node("Transpose", ["embedded"], ["by_position"], perm=[1, 0, 2]),
        helper.make_node("Unsqueeze", ["state", "axis_0"], ["initial"]),  # (1, B, H)
        helper.make_node(
            "GRU",
            ["by_position", "input_weights", "state_weights", "gate_biases", "", "initial"],
            ["", "last"],
            hidden_size=backbone.gru.hidden_size,
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", ["last", "axis_0"], ["next_state"]),
        helper.make_node("Gemm", ["next_state", "out_weight", "out_bias"], ["user"], transB=1),
    ]


def _constants(backbone: GRU4Rec) -> dict[str, np.ndarray]:
    gru, out = backbone.gru, backbone.out
    biases = torch.cat([gru_parameter(gru, "bias_ih_l0"), gru_parameter(gru, "bias_hh_l0")])
    tensors = {
        "table": backbone.item_embedding.weight * backbone.dim**0.5,
        "input_weights": gru_parameter(gru, "weight_ih_l0")[None],
        "state_weights": gru_parameter(gru, "weight_hh_l0")[None],
        "gate_biases": biases[None],
        "out_weight": out.weight,
        "out_bias": out.bias,
    }
    return {"axis_0": np.array([0])} | {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def state_after(backbone: Backbone, tokens: Tensor, state: Tensor) -> Tensor:
    """Return PyTorch's own state: int64 (B, L) and float32 (B, H) to float32 (B, H)."""
    assert isinstance(backbone, GRU4Rec)
    _, last = backbone.gru(backbone.item_embedding(tokens) * backbone.dim**0.5, state[None])
    return torch.as_tensor(last[0])
