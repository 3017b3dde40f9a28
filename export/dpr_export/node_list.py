# A graph written node by node, where torch.export's own has more nodes than the arithmetic needs. Which nodes is the
# caller's.
"""Nodes and constants of an ONNX graph, collected one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NodeList", "Port"]

_IR_VERSION = 10
_TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}

Port = tuple[str, str, tuple[int | str, ...]]


class NodeList:
    """Nodes in the order in which they are added; values are known by their names.

    Examples
    --------
    >>> nodes = NodeList()
    >>> doubled = nodes.add("Mul", "x", nodes.floats([2.0]), output="doubled")
    >>> model = nodes.model("double", [("x", "float32", ("B",))], [("doubled", "float32", ("B",))], opset=23)
    >>> [node.op_type for node in model.graph.node]
    ['Mul']
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._count = 0

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name, ``output`` or one that is free."""
        name = output or self._free_name()
        self.add_with(operator, *inputs, outputs=[name], **attributes)
        return name

    def add_with(self, operator: str, *inputs: str, outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with these outputs; an empty name stands for one that is not wanted."""
        self._nodes.append(helper.make_node(operator, list(inputs), list(outputs), **attributes))

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        """Cut a value along its last axis into parts of these sizes."""
        names = [self._free_name() for _ in sizes]
        self.add_with("Split", value, self.ints(*sizes), outputs=names, axis=-1)
        return names

    def floats(self, values: npt.ArrayLike) -> str:
        """Add a constant, rounded to float32, and return its name; equal constants are one."""
        return self._constant(np.asarray(values, dtype=np.float32))

    def ints(self, *values: int) -> str:
        """Add a constant of int64 (n,), as :meth:`floats`."""
        return self._constant(np.array(values, dtype=np.int64))

    def scalar(self, value: int) -> str:
        """Add a constant of int64 (), as :meth:`floats`."""
        return self._constant(np.array(value, dtype=np.int64))

    def model(
        self, name: str, inputs: Sequence[Port], outputs: Sequence[Port], *, opset: int
    ) -> onnx.ModelProto:
        """Make a checked model of ONNX's own operators.

        Parameters
        ----------
        name : str
            Of the graph.
        inputs, outputs : sequence of (name, dtype, shape)
            Its ports, of "int64" or "float32"; a string in a shape is a dynamic dimension.
        opset : int
            Version of the operators.

        Raises
        ------
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError
            If the nodes make no graph.
        """
        ports = [
            [helper.make_tensor_value_info(port, _TYPES[dtype], shape) for port, dtype, shape in side]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, name, *ports, initializer=list(self._constants.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _constant(self, array: npt.NDArray[Any]) -> str:
        array = np.ascontiguousarray(array) if array.ndim else array
        key = (
            array.dtype.str,
            array.shape,
            hashlib.sha256(array.data).digest(),
        )  # a table of items may be large
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant_{len(self._constants)}")
        return self._constants[key].name

    def _free_name(self) -> str:
        self._count += 1
        return f"value_{self._count}"
