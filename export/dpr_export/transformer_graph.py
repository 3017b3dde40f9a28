# SASRec and BERT4Rec as graphs, node by node: torch.export's have twice the nodes, and a short history spends its time
# on nodes, not on arithmetic. Weights are the backbone's, multiplied with each other where that spares a product.
"""The graph ``backbone`` of the transformers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from torch import Tensor, nn

from dpr_export.node_list import NodeList
from dpr_train.backbones import BERT4Rec, SASRec
from dpr_train.backbones.transformer import TransformerBlock

__all__ = ["LONGEST", "transformer_graph"]

# Longest history whose masks may be constants: two of L x L floats, and one more a head and block with distance biases.
LONGEST = 1024

Array = npt.NDArray[np.float64]

# Added to a score, it leaves the weight at exactly 0, and is a number of float16; an infinity would make NaN of rows
# that see nothing.
_HIDDEN = -3e4
_END = 2**62
_BOOL = onnx.TensorProto.BOOL


def transformer_graph(backbone: SASRec | BERT4Rec, *, opset: int) -> onnx.ModelProto:
    """Write a backbone as a graph: ``items`` int64 (B, L), left padded with 0, to ``user`` float32 (B, d).

    Parameters
    ----------
    backbone : SASRec or BERT4Rec
        Of histories up to :data:`LONGEST`.
    opset : int
        Version of ONNX's operators, at least 23.

    Notes
    -----
    The scores of a softmax may move by the same amount, and its weights add up to 1: so keys need no bias, and the
    bias of the values is one of the output. In the last block only the last position asks, and with
    q = Wq x + bq its scores are (Wk_h' q_h)' y for every head h: the keys are the normed states y themselves, and so
    are the values, for sum_i p_i Wv_h y_i = Wv_h sum_i p_i y_i. Products of weights are made in float64.
    """
    return _Stack(backbone).model(opset)


class _Stack:
    def __init__(self, backbone: SASRec | BERT4Rec) -> None:
        self.backbone = backbone
        self.nodes = NodeList()
        self.places = len(backbone.position)  # the most positions of a pass
        self.causal = isinstance(backbone, SASRec)
        self.blocks = [block for block in backbone.blocks if isinstance(block, TransformerBlock)]
        self.heads = self.blocks[0].heads
        self.length = self.from_end = self.seen = ""

    def model(self, opset: int) -> onnx.ModelProto:
        x = self._embed()  # (B, L, d)
        *inner, last = self.blocks
        full = ""
        for block in inner:
            if not full or block.bias is not None:
                full = self._mask(block)
            x = self._inner_block(block, x, full)
        if full and last.bias is None:
            row = self.nodes.add(
                "Slice", full, self.nodes.ints(-1), self.nodes.ints(_END), self.nodes.ints(2)
            )
        else:
            row = self._mask(last, last_only=True)
        self._norm(self._last_block(last, x, row), self.backbone.norm, output="user")
        dim = self.backbone.dim
        return self.nodes.model(
            "backbone", [("items", "int64", ("B", "L"))], [("user", "float32", ("B", dim))], opset=opset
        )

    def _embed(self) -> str:
        """What the first block reads, (B, L, d), and which positions others may see."""
        add, nodes = self.nodes.add, self.nodes
        table = _weights(self.backbone.item_embedding.weight) * self.backbone.dim**0.5
        position = _weights(self.backbone.position)
        if self.causal:
            items, seen = "items", add("Cast", "items", to=_BOOL)
            # A history without items is read at its last position, where the token of padding carries no place. What
            # padding carries elsewhere is seen by nobody.
            table[0] -= position[-1]
        else:  # the mask at the end is token 0, and is seen
            behind = nodes.ints(0, 0, 0, 1)
            items = add("Pad", "items", behind)
            seen = add("Cast", add("Pad", "items", behind, nodes.scalar(1)), to=_BOOL)
        self.seen = add("Unsqueeze", seen, nodes.ints(1, 2))  # (B, 1, 1, L)
        self.length = add("Shape", items, start=1, end=2)
        self.from_end = add("Neg", self.length)
        placed = add("Slice", nodes.floats(position), self.from_end, nodes.ints(_END), nodes.ints(0))
        return add("Add", add("Gather", nodes.floats(table), items), placed)

    def _mask(self, block: TransformerBlock, *, last_only: bool = False) -> str:
        """What is added to scores: (B, 1 or heads, Q, L), of all positions or of the last one."""
        n = self.places
        at = np.arange(n)
        visible = np.zeros((1, n, n))
        if block.bias is not None:
            visible = _weights(block.bias)[:, np.maximum(at[:, None] - at, 0)]
        if self.causal:
            visible = np.where(at[:, None] >= at, visible, _HIDDEN)
        itself = np.where(at[:, None] == at, 0.0, _HIDDEN)  # where padding looks: its softmax stays finite
        ends, axes = self.from_end, [-1]
        if last_only:
            visible, itself = visible[:, -1:], itself[-1:]
        else:  # the lower right corner, which is any other
            ends, axes = self.nodes.add("Concat", self.from_end, self.from_end, axis=0), [-2, -1]
        tail = self.nodes.ints(*[_END] * len(axes)), self.nodes.ints(*axes)
        shown, own = (
            self.nodes.add("Slice", self.nodes.floats(table), ends, *tail) for table in (visible, itself)
        )
        return self.nodes.add("Where", self.seen, shown, own)

    def _inner_block(self, block: TransformerBlock, x: str, mask: str) -> str:
        """(B, L, d) -> (B, L, d)."""
        add, nodes, dim = self.nodes.add, self.nodes, self.backbone.dim
        query, key_value = _weights(block.query.weight), _weights(block.key_value.weight)
        normed = self._norm(x, block.attention_norm)
        projected = add("MatMul", normed, nodes.floats(np.concatenate([query, key_value]).T))
        asked, keys, values = nodes.split(projected, [dim] * 3)
        asked = add("Add", asked, nodes.floats(_weights(block.query.bias)))
        attended = add(
            "Attention", asked, keys, values, mask, q_num_heads=self.heads, kv_num_heads=self.heads
        )
        # Rows for Gemm, which adds the bias in the same pass.
        flat, x = (add("Reshape", value, nodes.ints(-1, dim)) for value in (attended, x))
        x = add("Add", x, self._gemm(flat, _weights(block.out.weight), _out_bias(block)))
        shape = add("Concat", nodes.ints(-1), self.length, nodes.ints(dim), axis=0)
        return add("Reshape", self._feed(block, x), shape)

    def _last_block(self, block: TransformerBlock, x: str, mask: str) -> str:
        """(B, L, d) -> (B, d) of the last position."""
        add, nodes, heads = self.nodes.add, self.nodes, self.heads
        normed = self._norm(x, block.attention_norm)
        last, x = (add("Gather", value, nodes.scalar(-1), axis=1) for value in (normed, x))  # (B, d)
        dim = self.backbone.dim
        width = dim // heads
        keys, values = np.split(_weights(block.key_value.weight), 2)
        by_head = keys.reshape(heads, width, dim).transpose(0, 2, 1) * width**-0.5  # (H, d, d / H)
        query = by_head @ _weights(block.query.weight).reshape(heads, width, dim)  # (H, d, d)
        bias = by_head @ _weights(block.query.bias).reshape(heads, width, 1)
        asked = add(
            "Reshape",
            self._gemm(last, query.reshape(-1, dim), bias.ravel()),
            nodes.ints(-1, 1, heads * dim),
        )
        attended = add("Attention", asked, normed, normed, mask, q_num_heads=heads, kv_num_heads=1, scale=1.0)
        out = _weights(block.out.weight).reshape(dim, heads, width).transpose(1, 0, 2)  # (H, d, d / H)
        mixed = (out @ values.reshape(heads, width, dim)).transpose(1, 0, 2).reshape(dim, -1)  # (d, H d)
        flat = add("Reshape", attended, nodes.ints(-1, heads * dim))
        return self._feed(block, add("Add", x, self._gemm(flat, mixed, _out_bias(block))))

    def _feed(self, block: TransformerBlock, x: str) -> str:
        """The feed-forward network of rows (n, d), added to them."""
        into, out = (layer for layer in block.feed if isinstance(layer, nn.Linear))
        y = self._gemm(self._norm(x, block.feed_norm), _weights(into.weight), _weights(into.bias))
        y = self._gemm(self.nodes.add("Gelu", y), _weights(out.weight), _weights(out.bias))
        return self.nodes.add("Add", x, y)

    def _gemm(self, x: str, weight: Array, bias: Array) -> str:
        return self.nodes.add("Gemm", x, self.nodes.floats(weight.T), self.nodes.floats(bias))

    def _norm(self, x: str, norm: nn.LayerNorm, output: str | None = None) -> str:
        scale, bias = (self.nodes.floats(_weights(part)) for part in (norm.weight, norm.bias))
        return self.nodes.add("LayerNormalization", x, scale, bias, output=output, axis=-1, epsilon=norm.eps)


def _out_bias(block: TransformerBlock) -> Array:
    """The bias of attention's output, that of the values with it."""
    _, values = np.split(_weights(block.key_value.bias), 2)
    bias: Array = _weights(block.out.bias) + _weights(block.out.weight) @ values
    return bias


def _weights(tensor: Tensor) -> Array:
    array: Array = tensor.detach().double().numpy()
    return array
