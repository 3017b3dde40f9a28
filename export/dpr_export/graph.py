# PyTorch -> ONNX, one graph at a time: through torch.export, or node by node. What the graphs promise is in
# docs/design.md.
"""Export the graphs of a model."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from dpr_export.fusion_graph import fusion_graph
from dpr_export.fusion_parts import PromptHalf, UserHalf
from dpr_export.prompt_graph import PromptGraph
from dpr_export.recurrent_graph import recurrent_graph
from dpr_export.transformer_graph import LONGEST, transformer_graph
from dpr_train.backbones import BERT4Rec, GRU4Rec, SASRec
from dpr_train.model import DPR

__all__ = ["OPSET", "ExportedGraph", "Shape", "export_graph", "export_graphs", "fusion_widths"]

# The first opset with an Attention operator: onnxruntime runs SASRec (L = 50, B = 1, one thread) in 0.094 ms with it,
# and in 0.111 ms from the matrix products that opset 20 decomposes it into.
OPSET = 23

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class ExportedGraph:
    """A graph's file name, and its inputs and outputs as ``(name, dtype, shape)``; a string is a dynamic dimension."""

    file: str
    inputs: tuple[tuple[str, str, Shape], ...]
    outputs: tuple[tuple[str, str, Shape], ...]

    def as_dict(self) -> dict[str, Any]:
        """The graph's entry in the manifest."""

        def ports(listed: Sequence[tuple[str, str, Shape]]) -> list[dict[str, Any]]:
            return [{"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in listed]

        return {
            "file": self.file,
            "opset": OPSET,
            "inputs": ports(self.inputs),
            "outputs": ports(self.outputs),
        }


def export_graphs(model: DPR, folder: Path) -> dict[str, ExportedGraph]:
    """Write ``backbone.onnx``, ``prompt_encoder.onnx``, ``prompt_fusion.onnx`` and ``fusion_moe.onnx``.

    Parameters
    ----------
    model : DPR
        In evaluation mode.
    folder : Path
        Where to write.

    Returns
    -------
    dict
        What each graph takes and gives, by name.
    """
    graphs = _contracts(model)
    modules: Mapping[str, nn.Module] = {
        "backbone": model.backbone,
        "prompt_encoder": PromptGraph(model.prompt_encoder),
        "prompt_fusion": PromptHalf(model.fusion),
        "fusion_moe": UserHalf(model.fusion),
    }
    for name, graph in graphs.items():
        by_hand = _by_hand(modules[name], graph)
        if by_hand is None:
            export_graph(modules[name], graph, folder / graph.file)
        else:
            onnx.save_model(by_hand, folder / graph.file)
    return graphs


def _by_hand(module: nn.Module, graph: ExportedGraph) -> onnx.ModelProto | None:
    """Write the graphs that every query waits for node by node, where there is a way to."""
    if isinstance(module, UserHalf):
        return fusion_graph(module, graph.inputs, graph.outputs, opset=OPSET)
    if isinstance(module, SASRec | BERT4Rec) and module.max_history < LONGEST:
        return transformer_graph(module, opset=OPSET)
    if isinstance(module, GRU4Rec):
        return recurrent_graph(module, opset=OPSET)
    return None


def _contracts(model: DPR) -> dict[str, ExportedGraph]:
    user, token = model.config.backbone.dim, model.prompt_encoder.token_dim
    side, experts = model.config.steering.side_dim, len(model.fusion.roles)
    width, hidden = fusion_widths(model)
    ids: Shape = ("B", "T")
    share: tuple[tuple[str, str, Shape], ...] = (
        ("keys", "float32", ("B", "T", width)),
        ("values", "float32", ("B", "T", width)),
        ("hidden", "float32", ("B", experts, hidden)),
        ("sides", "float32", ("B", experts, side)),
        ("strengths", "float32", ("B", experts)),
    )
    return {
        "backbone": ExportedGraph(
            "backbone.onnx", (("items", "int64", ("B", "L")),), (("user", "float32", ("B", user)),)
        ),
        "prompt_encoder": ExportedGraph(
            "prompt_encoder.onnx",
            (
                ("input_ids", "int64", ids),
                ("attention_mask", "int64", ids),
                ("tag_embeddings", "float32", ("G", token)),
            ),
            (
                ("tokens", "float32", ("B", "T", token)),
                ("wish", "float32", ("B", "G", 2)),
                ("released", "float32", ("B", "G")),
            ),
        ),
        "prompt_fusion": ExportedGraph(
            "prompt_fusion.onnx",
            (
                ("tokens", "float32", ("B", "T", token)),
                ("attention_mask", "int64", ids),
                ("wish", "float32", ("B", "G", 2)),
                ("tag_vectors", "float32", ("G", side)),
            ),
            share,
        ),
        "fusion_moe": ExportedGraph(
            "fusion_moe.onnx",
            (("user", "float32", ("B", user)), *share[:2], ("attention_mask", "int64", ids), *share[2:]),
            (("experts", "float32", ("B", experts, user + side)), ("gates", "float32", ("B", experts))),
        ),
    }


def fusion_widths(model: DPR) -> tuple[int, int]:
    """Widths of the fusion's attention, and of an expert's inner state."""
    return model.fusion.query.out_features, model.fusion.expert_of(model.fusion.kinds[0]).hidden.out_features


# Sizes that the graphs are traced with. Validation uses others: a size that the trace froze shows there.
_TRACED = {"B": 3, "L": 7, "T": 9, "G": 5}


def example_inputs(graph: ExportedGraph) -> tuple[Tensor, ...]:
    """Inputs of the traced sizes: ones for integers (valid as ids and as masks), a fixed ramp for floats."""
    inputs = []
    for _, dtype, shape in graph.inputs:
        sizes = [_TRACED[d] if isinstance(d, str) else d for d in shape]
        if dtype == "int64":
            inputs.append(torch.ones(sizes, dtype=torch.int64))
        else:
            count = int(torch.tensor(sizes).prod())
            inputs.append(torch.linspace(0.0, 1.0, count).reshape(sizes))
    return tuple(inputs)


def export_graph(module: nn.Module, graph: ExportedGraph, path: Path) -> None:
    """Write one module as a graph.

    Parameters
    ----------
    module : nn.Module
        It is put in evaluation mode.
    graph : ExportedGraph
        Its inputs, in the order of ``forward``, and its outputs.
    path : Path
        The .onnx file to write.
    """
    dynamic = {
        name: {axis: torch.export.Dim.DYNAMIC for axis, d in enumerate(shape) if isinstance(d, str)}
        for name, _, shape in graph.inputs
    }
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            example_inputs(graph),
            dynamo=True,
            opset_version=OPSET,
            input_names=[name for name, _, _ in graph.inputs],
            output_names=[name for name, _, _ in graph.outputs],
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _name_dimensions(proto, graph)
    _drop_private_notes(proto)
    onnx.checker.check_model(proto)
    onnx.save_model(proto, path)


def _name_dimensions(proto: onnx.ModelProto, graph: ExportedGraph) -> None:
    """Give the dynamic dimensions of inputs and outputs their names of the contract, and the others their sizes."""
    for listed, values in ((graph.inputs, proto.graph.input), (graph.outputs, proto.graph.output)):
        for (_, _, shape), value in zip(listed, values, strict=True):
            for d, dimension in zip(shape, value.type.tensor_type.shape.dim, strict=True):
                if isinstance(d, str):
                    dimension.dim_param = d
                else:
                    dimension.dim_value = d


def _drop_private_notes(proto: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold stack traces, and with them paths of the machine that exported."""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    for function in proto.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporter's progress notes off the terminal; its errors are raised, not printed."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
