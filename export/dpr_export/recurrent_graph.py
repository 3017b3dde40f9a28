# GRU4Rec as a graph, node by node: torch.export's has four times the nodes. Read from its end, a history padded on the
# left is one padded on the right, of which what is no padding is turned back.
"""The graph ``backbone`` of the recurrent backbone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from dpr_export.node_list import NodeList
from dpr_train.backbones import GRU4Rec

__all__ = ["gru_constants", "item_table", "recurrent_graph"]

# ONNX orders the gates update, reset, new; PyTorch reset, update, new.
_GATES = (1, 0, 2)
_END = -(2**62)


def recurrent_graph(backbone: GRU4Rec, *, opset: int) -> onnx.ModelProto:
    """Write a backbone as a graph: ``items`` int64 (B, L), left padded with 0, to ``user`` float32 (B, d).

    Parameters
    ----------
    backbone : GRU4Rec
        In evaluation mode.
    opset : int
        Version of ONNX's operators.
    """
    nodes, gru = NodeList(), backbone.gru
    add, ints = nodes.add, nodes.ints
    # One more 0 in front: padding is the start token, and the one next to the items is read.
    started = add("Transpose", add("Pad", "items", ints(0, 1, 0, 0)), perm=[1, 0])  # (L + 1, B)
    backwards = add("Slice", started, ints(-1), ints(_END), ints(0), ints(-1))
    count = add("ReduceSum", add("Sign", "items"), ints(1), keepdims=1)  # (B, 1)
    lengths = add("Add", add("Reshape", count, ints(-1)), nodes.scalar(1))
    tokens = add("ReverseSequence", backwards, lengths, time_axis=0, batch_axis=1)
    embedded = add("Gather", item_table(nodes, backbone), tokens)  # (L + 1, B, d)
    # The operator gives the last states, too, but OpenVINO's does not look at the lengths.
    states = add(
        "GRU",
        embedded,
        *gru_constants(nodes, gru),
        add("Cast", lengths, to=onnx.TensorProto.INT32),
        hidden_size=gru.hidden_size,
        linear_before_reset=1,
    )
    states = add("Transpose", add("Squeeze", states, ints(1)), perm=[1, 0, 2])  # (B, L + 1, H)
    state = add("GatherND", states, count, batch_dims=1)  # (B, H)
    weight, bias = (nodes.floats(_floats(part)) for part in (backbone.out.weight.T, backbone.out.bias))
    add("Gemm", state, weight, bias, output="user")
    user = ("user", "float32", ("B", backbone.dim))
    return nodes.model("backbone", [("items", "int64", ("B", "L"))], [user], opset=opset)


def item_table(nodes: NodeList, backbone: GRU4Rec) -> str:
    """Add what the operator GRU reads of each token, (tokens, d), and return the constant's name."""
    return nodes.floats(_floats(backbone.item_embedding.weight) * np.float32(backbone.dim**0.5))


def gru_constants(nodes: NodeList, gru: nn.GRU) -> tuple[str, str, str]:
    """Add the weights and biases that the operator GRU takes, and return their names."""
    biases = torch.cat([_parameter(gru, "bias_ih_l0"), _parameter(gru, "bias_hh_l0")])
    of_input, of_state = _parameter(gru, "weight_ih_l0"), _parameter(gru, "weight_hh_l0")
    w, r, b = (nodes.floats(_floats(part)[None]) for part in (of_input, of_state, biases))
    return w, r, b


def _parameter(gru: nn.GRU, name: str) -> Tensor:
    """Return a parameter of a GRU, (3 H, ...), its gates in ONNX's order."""
    parts = gru.get_parameter(name).chunk(3)
    return torch.cat([parts[gate] for gate in _GATES])


def _floats(tensor: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = tensor.detach().numpy()
    return array
