# The word embeddings of an int8 prompt encoder, a byte a number: most of such a graph's file, and of the time it takes
# to be read, were these in float32.
"""Round the word embeddings of a graph to bytes."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["round_words"]

_LEVELS = 127


def round_words(model: onnx.ModelProto, tokens: str = "input_ids") -> None:
    """Keep the table that token ids are looked up in as int8 with a float32 scale a row; looked-up rows are float32.

    The largest error is 1/254 of the largest number of a row.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    tokens : str
        The input of token ids.

    Raises
    ------
    ValueError
        If not exactly one float32 matrix is looked up by token ids.
    """
    graph = model.graph
    matrices = {
        t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2
    }
    places = [
        number
        for number, node in enumerate(graph.node)
        if node.op_type == "Gather" and node.input[1] == tokens and node.input[0] in matrices
    ]
    if len(places) != 1:
        raise ValueError(f"{tokens} must look up one float32 matrix; got {len(places)}")
    (place,) = places
    gather = graph.node[place]
    table, found = gather.input[0], gather.output[0]
    words = numpy_helper.to_array(matrices[table])
    scales = np.abs(words).max(axis=1, keepdims=True) / np.float32(_LEVELS)
    codes = np.rint(words / np.where(scales == 0, np.float32(1), scales)).astype(np.int8)
    graph.initializer.remove(matrices[table])
    graph.initializer.append(numpy_helper.from_array(codes, f"{table}_codes"))
    graph.initializer.append(numpy_helper.from_array(scales, f"{table}_scales"))
    nodes = [
        helper.make_node("Gather", [f"{table}_codes", tokens], [f"{found}_codes"], name=f"{found}_codes"),
        helper.make_node("Gather", [f"{table}_scales", tokens], [f"{found}_scales"], name=f"{found}_scales"),
        helper.make_node(
            "Cast", [f"{found}_codes"], [f"{found}_cast"], name=f"{found}_cast", to=onnx.TensorProto.FLOAT
        ),
        helper.make_node("Mul", [f"{found}_cast", f"{found}_scales"], [found], name=found),
    ]
    graph.node.remove(gather)
    for node in reversed(nodes):
        graph.node.insert(place, node)
