# A small stand-in for Triton: it reads a model repository's configurations with the published schema, runs the graphs
# with onnxruntime, and gives requests to the Python model as the Python backend does.

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

BYTES, INT32, INT64, FP32 = (
    model_config_pb2.DataType.Value(f"TYPE_{name}") for name in ("STRING", "INT32", "INT64", "FP32")
)
_DTYPES = {BYTES: np.object_, INT32: np.int32, INT64: np.int64, FP32: np.float32}


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """Parse a model's configuration; whatever is not in the schema raises."""
    text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self):
        return self._name

    def as_numpy(self):
        return self._array


class InferenceRequest:
    """A call of another model of the repository."""

    fake: Triton

    def __init__(self, model_name, requested_output_names, inputs, preferred_memory):
        self.model, self.asked, self.inputs = model_name, requested_output_names, inputs

    def exec(self):
        return self.fake.call_graph(self.model, {t.name(): t.as_numpy() for t in self.inputs}, self.asked)


class InferenceResponse:
    def __init__(self, output_tensors, error=None):
        self.tensors, self._error = output_tensors, error

    def has_error(self):
        return self._error is not None

    def error(self):
        return self._error


class Request:
    """What a client asked the Python model."""

    def __init__(self, inputs: dict[str, np.ndarray], asked: tuple[str, ...]) -> None:
        self.inputs, self.asked = inputs, asked

    def requested_output_names(self):
        return list(self.asked)


class Triton:
    """A server of one repository."""

    def __init__(self, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configs = {path.name: read_config(path) for path in repository.iterdir()}
        self.sessions = {
            name: onnxruntime.InferenceSession(
                repository / name / "1" / "model.onnx", providers=["CPUExecutionProvider"]
            )
            for name, config in self.configs.items()
            if config.backend == "onnxruntime"
        }
        self.calls: list[str] = []
        self.broken: set[str] = set()
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", self._backend_utils())
        (front,) = (name for name, config in self.configs.items() if config.backend == "python")
        self.front = self.configs[front]
        spec = importlib.util.spec_from_file_location("front", repository / front / "1" / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.model = module.TritonPythonModel()
        config = json.dumps(json_format.MessageToDict(self.front, preserving_proto_field_name=True))
        self.model.initialize({"model_config": config, "model_version": "1"})

    def _backend_utils(self) -> Any:
        return SimpleNamespace(
            Tensor=Tensor,
            InferenceRequest=type("InferenceRequest", (InferenceRequest,), {"fake": self}),
            InferenceResponse=InferenceResponse,
            TritonError=lambda message: SimpleNamespace(message=lambda: message),
            PreferredMemory=lambda kind, device: (kind, device),
            TRITONSERVER_MEMORY_CPU=0,
            get_input_tensor_by_name=self._input,
            get_output_tensor_by_name=lambda response, name: next(
                t for t in response.tensors if t.name() == name
            ),
        )

    @staticmethod
    def _input(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.inputs[name]) if name in request.inputs else None

    def call_graph(self, name: str, feed: dict[str, np.ndarray], asked: list[str]) -> InferenceResponse:
        self.calls.append(name)
        if name in self.broken:
            return InferenceResponse([], SimpleNamespace(message=lambda: "out of memory"))
        config = self.configs[name]
        assert feed.keys() == {port.name for port in config.input}
        for port in config.input:
            check_fits(feed[port.name], port, batched=config.max_batch_size > 0)
        return InferenceResponse(
            [Tensor(o, a) for o, a in zip(asked, self.sessions[name].run(asked, feed), strict=True)]
        )

    def infer(self, *requests: dict[str, np.ndarray], asked: tuple[str, ...] = ("ITEMS", "SCORES")) -> list:
        """Give the front requests in one batch, as it configured them to be."""
        ports = {port.name: port for port in self.front.input}
        for request in requests:
            for name, array in request.items():
                check_fits(array, ports[name], batched=True)
            assert all(port.optional or port.name in request for port in self.front.input)
        responses = self.model.execute([Request(request, asked) for request in requests])
        assert len(responses) == len(requests)
        outputs = {port.name: port for port in self.front.output}
        for response in responses:
            for tensor in response.tensors:
                check_fits(tensor.as_numpy(), outputs[tensor.name()], batched=True)
        return responses


def check_fits(array: np.ndarray, port: Any, *, batched: bool) -> None:
    """Check that a tensor has the type and shape that a configuration promises."""
    shape = array.shape[1:] if batched else array.shape
    assert array.dtype == _DTYPES[port.data_type], port.name
    assert len(shape) == len(port.dims), port.name
    assert all(want in (-1, have) for want, have in zip(port.dims, shape, strict=True)), port.name
