# The user's half of the fusion as a graph, node by node: it runs for every query, and torch.export's has twice the
# nodes. The weights are UserHalf's.
"""The graph ``fusion_moe``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from torch import Tensor

from dpr_export.fusion_parts import UserHalf
from dpr_export.node_list import NodeList, Port

__all__ = ["fusion_graph"]


def fusion_graph(
    half: UserHalf, inputs: Sequence[Port], outputs: Sequence[Port], *, opset: int
) -> onnx.ModelProto:
    """Write the user's half as a graph.

    Parameters
    ----------
    half : UserHalf
        In evaluation mode.
    inputs, outputs : sequence of (name, dtype, shape)
        Its ports: those of ``UserHalf.forward``.
    opset : int
        Version of ONNX's operators, at least 23.
    """
    nodes = NodeList()
    add, ints = nodes.add, nodes.ints
    experts, width, out = half.out.shape  # (E, 2 dim, dc + 2)
    dim, heads = half.query.out_features, half.heads

    asked = _gemm(nodes, "user", half.query.weight, half.query.bias)
    asked = add("Reshape", asked, ints(-1, 1, dim))
    seen = add("Unsqueeze", add("Cast", "attention_mask", to=onnx.TensorProto.BOOL), ints(1, 2))
    fused = add("Attention", asked, "keys", "values", seen, q_num_heads=heads, kv_num_heads=heads)
    state = add("Concat", "user", add("Reshape", fused, ints(-1, dim)), axis=-1)
    state = add(
        "LayerNormalization",
        state,
        nodes.floats(_weights(half.norm.weight)),
        nodes.floats(_weights(half.norm.bias)),
        axis=-1,
        epsilon=half.norm.eps,
    )
    inner = add("MatMul", state, nodes.floats(_weights(half.inner)))
    inner = add("Reshape", inner, ints(-1, experts, width))
    inner = add("Gelu", add("Add", inner, "hidden"))  # (B, E, 2 dim)
    # One product for each expert, of all queries: one for each query and expert would read the weights B times.
    by_expert = add("MatMul", add("Transpose", inner, perm=[1, 0, 2]), nodes.floats(_weights(half.out)))
    by_expert = add("Add", by_expert, nodes.floats(_weights(half.bias)))
    made = add("Transpose", by_expert, perm=[1, 0, 2])  # (B, E, dc + 2)
    towards, gain, gate = nodes.split(made, (out - 2, 1, 1))
    add("Concat", towards, add("Mul", add("Softplus", gain), "sides"), axis=-1, output="experts")
    if half.learned_gates:
        add("Mul", "strengths", add("Squeeze", add("Sigmoid", gate), ints(2)), output="gates")
    else:
        add("Identity", "strengths", output="gates")
    return nodes.model("fusion_moe", inputs, outputs, opset=opset)


def _gemm(nodes: NodeList, x: str, weight: Tensor, bias: Tensor) -> str:
    return nodes.add("Gemm", x, nodes.floats(_weights(weight.T)), nodes.floats(_weights(bias)))


def _weights(tensor: Tensor) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = tensor.detach().numpy()
    return array
