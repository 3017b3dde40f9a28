# Graphs as TensorRT gets them, computed by onnxruntime: they say what the bundle's say, within their bounds.

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from dpr_export.engines import BOUNDS, prepared_graph
from dpr_export.errors import ExportError, ParityError
from dpr_export.recorded_calls import Call, check_alike, record_calls
from dpr_export.tensorrt_graph import to_float16, to_int8, without_attention
from dpr_infer.graph_contract import contract


class Session:
    """A model that onnxruntime's CPU runs."""

    on_cpu, providers = True, ("CPUExecutionProvider",)

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = {port.name: (port.type, port.shape) for port in self._session.get_inputs()}

    def run(self, feed):
        return self._session.run(None, feed)


@pytest.fixture(scope="module")
def calls(sasrec):
    return record_calls(sasrec.bundle)


def model_of(made, name: str) -> onnx.ModelProto:
    return onnx.load(made.bundle / f"{name}.onnx")


def check(made, calls, name: str, model: onnx.ModelProto, bound: float) -> float:
    manifest = made.recommender.manifest
    outputs = list(contract(manifest.dims, manifest.format_version)[name][1])
    return check_alike(name, outputs, calls[name], Session(model), bound)


def test_recorded_calls_are_those_of_queries(sasrec, calls):
    manifest = sasrec.recommender.manifest
    assert calls.keys() == manifest.graphs.keys()
    assert len(calls["prompt_encoder"]) > 4 * len(manifest.tags)
    assert max(len(call.feed["user"]) for call in calls["fusion_moe"]) > 1
    assert max(len(call.feed["items"]) for call in calls["backbone"]) > 1
    for name, made in calls.items():
        inputs = contract(manifest.dims, manifest.format_version)[name][0]
        assert all(call.feed.keys() == inputs.keys() for call in made)


def graphs(made):
    return list(made.recommender.manifest.graphs)


@pytest.mark.parametrize("name", ["backbone", "prompt_encoder", "fusion_moe"])
def test_attention_is_written_out(sasrec, calls, name):
    model = model_of(sasrec, name)
    assert any(node.op_type == "Attention" for node in model.graph.node)
    plain = without_attention(model)
    assert all(node.op_type != "Attention" for node in plain.graph.node)
    assert [opset.version for opset in plain.opset_import if opset.domain == ""] == [20]
    assert not plain.functions
    check(sasrec, calls, name, plain, BOUNDS["fp32"])


def test_without_attention_there_is_nothing_to_do(gru4rec):
    model = model_of(gru4rec, "backbone")
    assert without_attention(model) is model


@pytest.mark.parametrize("attention", [True, False])
def test_float16(sasrec, calls, attention):
    for name in graphs(sasrec):
        model = model_of(sasrec, name)
        half = to_float16(model if attention else without_attention(model))
        kinds = Counter(tensor.data_type for tensor in half.graph.initializer)
        assert kinds[onnx.TensorProto.FLOAT16] > kinds[onnx.TensorProto.FLOAT]
        assert Session(half).inputs == Session(model_of(sasrec, name)).inputs
        error = check(sasrec, calls, name, half, BOUNDS["fp16"])
        assert error > 0  # it was computed in another precision


def test_int8(sasrec, calls):
    model = model_of(sasrec, "prompt_encoder")
    quantised = to_int8(model, calls["prompt_encoder"])
    error = check(sasrec, calls, "prompt_encoder", quantised, BOUNDS["int8"])
    assert error > BOUNDS["fp32"]
    kinds = Counter(node.op_type for node in quantised.graph.node)
    assert kinds["QuantizeLinear"] > 0
    points = {
        node.input[2]
        for node in quantised.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2
    }
    values = {t.name: onnx.numpy_helper.to_array(t) for t in quantised.graph.initializer}
    assert points  # TensorRT takes zero points that are 0, and no others
    assert all(not values[name].any() for name in points)


def test_int8_leaves_products_behind_gelu_alone(sasrec, calls):
    quantised = to_int8(model_of(sasrec, "prompt_encoder"), calls["prompt_encoder"])
    behind = [node.output[0] for node in quantised.graph.node if node.op_type == "Gelu"]
    readers = [node.op_type for node in quantised.graph.node if set(node.input) & set(behind)]
    assert readers
    assert "QuantizeLinear" not in readers


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("precision", BOUNDS)
def test_prepared_graphs(sasrec, calls, precision, attention):
    for name in graphs(sasrec):
        file = f"{name}.onnx"
        made = prepared_graph(model_of(sasrec, name), file, name, precision, calls, attention=attention)
        operators = {node.op_type for node in made.graph.node}
        assert ("QuantizeLinear" in operators) == (precision == "int8" and name == "prompt_encoder")
        assert attention or "Attention" not in operators
        check(sasrec, calls, name, made, BOUNDS[precision])


def test_graphs_quantised_at_run_time_are_refused(calls):
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))
    with pytest.raises(
        ExportError, match=r"prompt_encoder.onnx.*DynamicQuantizeLinear.*--prompt-encoder fp32"
    ):
        prepared_graph(model, "prompt_encoder.onnx", "prompt_encoder", "fp32", calls, attention=True)


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ("user", lambda a: a + 0.1 * np.abs(a).max()),
        ("user", lambda a: a * np.nan),
        ("user", lambda a: a[:, :-1]),
        ("wish", lambda a: a + 0.1),
    ],
)
def test_differences_are_found(output, wrong):
    want = np.linspace(0, 2, 6, dtype=np.float32).reshape(2, 3)

    class Wrong:
        on_cpu, providers = True, ()

        def run(self, feed):
            return [wrong(want)]

    call = Call({"x": want}, [want])
    with pytest.raises(
        ParityError, match=rf"g: {output} for shapes \[\(2, 3\)\]: expected an error of at most 0.05"
    ):
        check_alike("g", [output], [call], Wrong(), 0.05)
