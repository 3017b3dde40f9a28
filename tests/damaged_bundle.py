# What tests do to the files of a bundle, with checksums that fit afterwards: such damage only a forger does.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

import tiny_bundle

Arrays = dict[str, np.ndarray]


def edit_tensors(folder: Path, change: Callable[[Arrays], Any]) -> None:
    """Change the arrays of the catalogue, in place or by returning others."""
    path = folder / "catalogue.safetensors"
    arrays = {name: np.array(array) for name, array in load_file(path).items()}
    changed = change(arrays)
    save_file(changed if isinstance(changed, dict) else arrays, path)
    tiny_bundle.reseal(folder)


def edit_graph(folder: Path, name: str, change: Callable[[onnx.ModelProto], Any]) -> None:
    """Change a graph in place."""
    path = folder / f"{name}.onnx"
    model = onnx.load_from_string(path.read_bytes())
    change(model)
    path.write_bytes(model.SerializeToString())
    tiny_bundle.reseal(folder)


def break_graph(folder: Path, name: str) -> None:
    """Make a graph one that loads and looks as it should, and fails whenever it is run."""
    _scale_output(
        folder,
        name,
        [numpy_helper.from_array(np.array(1_000), "far")],
        [
            helper.make_node("Shape", ["sound"], ["sizes"]),
            helper.make_node("Gather", ["sizes", "far"], ["no_size"]),
            helper.make_node("Cast", ["no_size"], ["factor"], to=TensorProto.FLOAT),
        ],
    )


def poison_graph(folder: Path, name: str) -> None:
    """Make a graph one that loads, looks as it should, runs, and gives NaN."""
    _scale_output(folder, name, [numpy_helper.from_array(np.array(np.nan, np.float32), "factor")], [])


def _scale_output(folder: Path, name: str, constants: list[TensorProto], nodes: list[onnx.NodeProto]) -> None:
    """Multiply a graph's first output, which the nodes see as "sound", by the "factor" that they make."""

    def change(model: onnx.ModelProto) -> None:
        graph = model.graph
        output = graph.output[0].name
        for node in graph.node:
            for i, value in enumerate(node.output):
                node.output[i] = "sound" if value == output else value
            for i, value in enumerate(node.input):
                node.input[i] = "sound" if value == output else value
        graph.initializer.extend(constants)
        graph.node.extend([*nodes, helper.make_node("Mul", ["sound", "factor"], [output])])

    edit_graph(folder, name, change)
