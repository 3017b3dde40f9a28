# The table of word embeddings in bytes: how far a row may move, and what is no such table.

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dpr_export.word_codes import round_words


def lookup(words: np.ndarray, tables: int = 1) -> onnx.ModelProto:
    """A graph that looks token ids up, in as many tables."""
    nodes = [helper.make_node("Gather", [f"words{t}", "input_ids"], [f"found{t}"]) for t in range(tables)]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])]
    outputs = [
        helper.make_tensor_value_info(f"found{t}", TensorProto.FLOAT, ["B", "T", words.shape[1]])
        for t in range(tables)
    ]
    kept = [numpy_helper.from_array(words, f"words{t}") for t in range(tables)]
    graph = helper.make_graph(nodes, "lookup", inputs, outputs, kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def found(model: onnx.ModelProto, ids: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"input_ids": ids})
    return np.asarray(rows)


def test_rows_move_by_at_most_half_a_step_of_their_own():
    rng = np.random.default_rng(0)
    words = (rng.standard_normal((50, 24)) * 10.0 ** rng.integers(-3, 3, (50, 1))).astype(np.float32)
    words[7] = 0
    ids = rng.integers(0, 50, (3, 9))
    model = lookup(words)
    assert np.array_equal(found(model, ids), words[ids])
    round_words(model)
    moved = np.abs(found(model, ids) - words[ids])
    largest = np.abs(words[ids]).max(axis=-1, keepdims=True)
    assert (moved <= largest / 254 * (1 + 1e-5)).all()
    assert moved.max() > 0
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert stored == {"words0_codes": TensorProto.INT8, "words0_scales": TensorProto.FLOAT}


@pytest.mark.parametrize("tables", [0, 2])
def test_what_is_not_one_table_is_refused(tables):
    model = lookup(np.ones((4, 3), dtype=np.float32), max(1, tables))
    with pytest.raises(ValueError, match=f"must look up one float32 matrix; got {tables}"):
        round_words(model, "input_ids" if tables else "other_ids")
