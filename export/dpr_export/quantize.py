# int8 weights for both encoders and the backbone. Activations are quantised at run time, so no calibration data
# are needed.
"""Dynamic quantisation of graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from dpr_export.word_codes import round_words

__all__ = ["head_nodes", "quantize_backbone", "quantize_prompt_encoder", "quantize_text_encoder"]


def quantize_prompt_encoder(path: Path) -> None:
    """Replace the graph at ``path`` by one whose large matrix products use int8 weights, a scale a column.

    The word embeddings become int8 with a scale a row. Only products with the encoder's own weights are quantised. The
    understanding head stays in float32: it is a hundredth of the work, and its logits decide polarity.
    """
    _quantize(path, leave_out=head_nodes, finish=round_words)


def quantize_text_encoder(path: Path) -> None:
    """Do the same to a text encoder. The product with the directions that tell items apart stays in float32."""
    _quantize(path, leave_out=_projection_nodes, finish=round_words)


def quantize_backbone(path: Path) -> None:
    """Replace a transformer's graph at ``path`` by one whose products with weights use int8 weights, a scale a column.

    Items' embeddings, attention itself and the norms stay in float32.
    """
    _quantize(path, leave_out=lambda _: [], finish=lambda _: None)


def _quantize(
    path: Path, *, leave_out: Callable[[Path], list[str]], finish: Callable[[onnx.ModelProto], None]
) -> None:
    """Quantise all products with weights but those of the nodes to leave out.

    Weights have seven bits: a CPU without VNNI adds pairs of products in 16 bits, and with eight the sums overflow.
    """
    prepared, quantised = path.with_suffix(".prepared"), path.with_suffix(".quantised")
    level = logging.getLogger().level
    try:
        logging.getLogger().setLevel(logging.ERROR)  # it advises to pre-process, which has just been done
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(
            str(prepared),
            str(quantised),
            per_channel=True,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=leave_out(prepared),
        )
        model = onnx.load(quantised)
        finish(model)
        onnx.save_model(model, quantised)
        quantised.replace(path)
    finally:
        logging.getLogger().setLevel(level)
        prepared.unlink(missing_ok=True)
        quantised.unlink(missing_ok=True)


def _projection_nodes(path: Path) -> list[str]:
    return [node.name for node in onnx.load(path).graph.node if "basis" in node.input]


def head_nodes(path: Path) -> list[str]:
    """Names of the nodes that compute the head: those that read the tags, or come after the encoder's last output."""
    graph = onnx.load(path).graph
    reached = {"tokens", "tag_embeddings"}
    nodes = []
    for node in graph.node:  # in topological order
        if reached & set(node.input):
            reached |= set(node.output)
            # The quantiser splits a Gemm in two before it looks for what to leave out, and renames the product.
            nodes += [node.name, f"{node.name}_MatMul"]
    return nodes
