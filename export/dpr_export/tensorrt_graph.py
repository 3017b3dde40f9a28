# A bundle's graph as TensorRT should read it. Networks are strongly typed, the only kind that TensorRT 11 has: what is
# computed in which precision is said by the graph, so it is the graph that is changed.
"""Graphs for TensorRT: operators that it lacks written out, float16, int8."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
from onnx import inliner
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from dpr_export.errors import ExportError
from dpr_export.quantize import head_nodes
from dpr_export.recorded_calls import Call

__all__ = ["ATTENTION", "to_float16", "to_int8", "without_attention"]

ATTENTION = "Attention"
# What Attention is written out in. Nothing else in the graphs needs a later one.
_PLAIN_OPSET = 20


def without_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write Attention out in operators of opset 20, for versions of TensorRT before 10.14, which do not have it."""
    if all(node.op_type != ATTENTION for node in model.graph.node):
        return model
    plain = inliner.inline_selected_functions(model, [("", ATTENTION)], inline_schema_functions=True)
    for opset in plain.opset_import:
        if opset.domain == "":
            opset.version = min(opset.version, _PLAIN_OPSET)
    onnx.checker.check_model(plain)
    return plain


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn weights and sums to float16. Inputs and outputs stay float32, and so do operators that have no float16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weights that are rounded to 0: what that does is measured
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    _sort(half.graph)  # the converter puts its casts at the end
    onnx.checker.check_model(half)
    return half


def to_int8(model: onnx.ModelProto, calls: Sequence[Call]) -> onnx.ModelProto:
    """Quantise the encoder's products with weights, by scales that recorded calls give: Q/DQ pairs, zero points 0.

    Products behind a Gelu stay in float32: their inputs have outliers, which one scale a tensor does not survive. With
    them, tokens of the encoder that ships moved by up to 31 % of the largest value and wishes by up to .21; without, by
    5 % and .01, on 41 prompts. Of the head nothing is quantised.

    Parameters
    ----------
    model : ModelProto
        The prompt encoder, in float32.
    calls : sequence of Call
        Calls of it, to take scales from.
    """
    with tempfile.TemporaryDirectory() as holder:
        source, target = Path(holder) / "float.onnx", Path(holder) / "int8.onnx"
        onnx.save_model(model, source)
        level = logging.getLogger().level
        try:
            logging.getLogger().setLevel(logging.ERROR)
            quantize_static(
                str(source),
                str(target),
                _Feeds(calls),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=head_nodes(source) + _behind_gelu(model.graph),
                extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
            )
        finally:
            logging.getLogger().setLevel(level)
        return onnx.load(target)


def check_float(model: onnx.ModelProto, file: str) -> None:
    """Raise ExportError if a graph is quantised at run time, which TensorRT has no operators for."""
    found = {node.op_type for node in model.graph.node} & {"DynamicQuantizeLinear", "MatMulInteger"}
    if found:
        raise ExportError(
            f"{file}: expected a graph in float32, got one with {', '.join(sorted(found))}, which TensorRT can't read; "
            f"export the bundle with --{Path(file).stem.replace('_', '-')} fp32 "
            "(--engine-precision int8 quantises the prompt encoder for TensorRT)"
        )


class _Feeds(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, calls: Iterable[Call]) -> None:
        self._feeds = iter([call.feed for call in calls])

    def get_next(self) -> object:
        return next(self._feeds, None)


def _behind_gelu(graph: onnx.GraphProto) -> list[str]:
    """Names of the products whose first input comes straight from a Gelu."""
    gelu = {output for node in graph.node if node.op_type == "Gelu" for output in node.output}
    # The quantiser splits a Gemm in two before it looks for what to leave out, and renames the product.
    return [
        name
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[0] in gelu
        for name in (node.name, f"{node.name}_MatMul")
    ]


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those whose outputs it reads."""
    known = {value.name for value in (*graph.input, *graph.initializer)} | {""}
    waiting = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ExportError(
                f"{graph.name}: expected a graph without cycles, got one through {waiting[0].name}"
            )
        graph.node.extend(ready)
        known.update(output for node in ready for output in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
