# A small stand-in for TensorRT and the CUDA runtime, with the same names and the same habits: a plan is the ONNX model
# with its profiles, device memory is host memory, and what is begun on a stream is done when it is waited for.
# test_tensorrt_names.py compares its names with those of the real API.

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

MAGIC = b"fake plan "


class Device:
    """The device: memory by address, and what is still to be done."""

    def __init__(self) -> None:
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.begun: list[Callable[[], None]] = []

    def wait(self) -> None:
        begun, self.begun = self.begun, []
        for action in begun:
            action()

    def view(self, address: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        return np.frombuffer(self.memory[address], dtype=dtype, count=count).reshape(shape)


class Status(enum.IntEnum):
    success = 0
    no_device = 100


class CudaRuntime:
    """cuda.bindings.runtime, as far as it is used. `sm` and `version` may be changed, and `present` set to False."""

    def __init__(self) -> None:
        self.device, self.sm, self.version, self.present = Device(), (9, 0), 12080, True
        self.cudaDeviceAttr = SimpleNamespace(
            cudaDevAttrComputeCapabilityMajor=0, cudaDevAttrComputeCapabilityMinor=1
        )
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def cudaGetDevice(self):
        return (Status.success, 0) if self.present else (Status.no_device, None)

    def cudaStreamCreate(self):
        return Status.success, 7

    def cudaStreamDestroy(self, stream):
        assert stream == 7
        return (Status.success,)

    def cudaDriverGetVersion(self):
        return Status.success, self.version

    def cudaDeviceGetAttribute(self, attribute, device):
        assert device == 0
        return Status.success, self.sm[attribute]

    def cudaGetDeviceProperties(self, device):
        assert device == 0
        return Status.success, SimpleNamespace(name=b"Stand-in GPU\0\0")

    def cudaMalloc(self, size):
        assert size > 0
        memory = ctypes.create_string_buffer(size)
        self.device.memory[ctypes.addressof(memory)] = memory
        return Status.success, ctypes.addressof(memory)

    def cudaFree(self, address):
        self.device.wait()
        del self.device.memory[address]
        return (Status.success,)

    def cudaMemcpyAsync(self, to, source, count, kind, stream):
        assert stream == 7
        on_device = to if kind == 1 else source
        assert count <= len(self.device.memory[on_device])
        self.device.begun.append(lambda: ctypes.memmove(to, source, count))
        return (Status.success,)

    def cudaStreamSynchronize(self, stream):
        assert stream == 7
        self.device.wait()
        return (Status.success,)

    def cudaGetErrorString(self, status):
        return Status.success, b"no CUDA-capable device is detected"


class DataType(enum.Enum):
    FLOAT = 0
    INT64 = 1


class TensorIOMode(enum.Enum):
    INPUT = 0
    OUTPUT = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class Dims(tuple):
    pass


class Logger:
    ERROR, WARNING = 1, 2

    def __init__(self, level: int) -> None:
        self.level = level


class OptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input, min, opt, max):
        self.shapes[input] = [list(min), list(opt), list(max)]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"timed "


class BuilderConfig:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.profiles: list[OptimizationProfile] = []
        self.cache: TimingCache | None = None

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def create_timing_cache(self, serialized_timing_cache):
        return TimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        if b"elsewhere" in cache.content:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Network:
    model: onnx.ModelProto | None = None


class Tensor:
    """An input or output of a plan: its dtype, and its shape with names where it varies."""

    def __init__(self, value: onnx.ValueInfoProto, mode: TensorIOMode) -> None:
        kind = value.type.tensor_type
        self.mode = mode
        self.dtype = {1: DataType.FLOAT, 7: DataType.INT64}[kind.elem_type]
        self.shape = [d.dim_param or d.dim_value for d in kind.shape.dim]


class Engine:
    def __init__(self, device: Device, plan: bytes) -> None:
        head, self.model = plan.removeprefix(MAGIC).split(b"\n", 1)
        self.device = device
        self.profiles: list[dict[str, list[list[int]]]] = json.loads(head)["profiles"]
        graph = onnx.load_from_string(self.model).graph
        self.tensors = {value.name: Tensor(value, TensorIOMode.INPUT) for value in graph.input}
        self.tensors |= {value.name: Tensor(value, TensorIOMode.OUTPUT) for value in graph.output}
        self.num_io_tensors, self.num_optimization_profiles = len(self.tensors), len(self.profiles)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_dtype(self, name):
        return self.tensors[name].dtype

    def get_tensor_mode(self, name):
        return self.tensors[name].mode

    def get_tensor_shape(self, name):
        return Dims(-1 if isinstance(d, str) else d for d in self.tensors[name].shape)

    def get_tensor_profile_shape(self, name, profile_index):
        return [Dims(shape) for shape in self.profiles[profile_index][name]]

    def create_execution_context(self):
        return ExecutionContext(self)


class ExecutionContext:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.profile = engine, -1
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.session = onnxruntime.InferenceSession(engine.model, providers=["CPUExecutionProvider"])

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.profile = profile_index
        return stream_handle == 7

    def set_input_shape(self, name, shape):
        least, _, greatest = self.engine.profiles[self.profile][name]
        self.sizes[name] = tuple(shape)
        return all(low <= d <= high for low, d, high in zip(least, shape, greatest, strict=True))

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def get_tensor_shape(self, name):
        known = {}
        for port, sizes in self.sizes.items():
            known |= dict(zip(self.engine.tensors[port].shape, sizes, strict=True))
        return Dims(known.get(d, d) for d in self.engine.tensors[name].shape)

    def execute_async_v3(self, stream_handle):
        assert stream_handle == 7
        self.engine.device.begun.append(self._execute)
        return True

    def _execute(self) -> None:
        dtypes = {DataType.FLOAT: "float32", DataType.INT64: "int64"}
        device, tensors = self.engine.device, self.engine.tensors
        feed = {
            name: device.view(self.addresses[name], dtypes[tensors[name].dtype], sizes)
            for name, sizes in self.sizes.items()
        }
        names = [name for name, tensor in tensors.items() if tensor.mode == TensorIOMode.OUTPUT]
        for name, found in zip(names, self.session.run(names, feed), strict=True):
            device.view(self.addresses[name], "float32", found.shape)[...] = found


def fake_plan(model: bytes, profiles: list[dict[str, list[list[int]]]]) -> bytes:
    return MAGIC + json.dumps({"profiles": profiles}).encode() + b"\n" + model


class Builder:
    fake: TensorRt

    def __init__(self, logger: Logger) -> None:
        if not self.fake.cuda.present:
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return Network()

    def create_builder_config(self):
        self.fake.configs.append(BuilderConfig())
        return self.fake.configs[-1]

    def create_optimization_profile(self):
        return OptimizationProfile()

    def build_serialized_network(self, network, config):
        if self.fake.fails:
            return None
        self.fake.built.append(network.model)
        shapes = [profile.shapes for profile in config.profiles]
        return fake_plan(network.model.SerializeToString(), shapes)


class OnnxParser:
    fake: TensorRt

    def __init__(self, network: Network, logger: Logger) -> None:
        self.network, self.errors, self.num_errors = network, [], 0

    def supports_operator(self, op_name):
        return op_name not in self.fake.lacking

    def parse(self, model):
        self.network.model = onnx.load_from_string(model)
        unknown = {node.op_type for node in self.network.model.graph.node} & self.fake.lacking
        self.errors = [SimpleNamespace(desc=lambda op=op: f"no importer for {op}") for op in unknown]
        self.num_errors = len(self.errors)
        return not unknown

    def get_error(self, index):
        return self.errors[index]


class Runtime:
    fake: TensorRt

    def __init__(self, logger: Logger) -> None:
        pass

    def deserialize_cuda_engine(self, serialized_engine):
        fits = serialized_engine.startswith(MAGIC)
        return Engine(self.fake.cuda.device, serialized_engine) if fits else None


class TensorRt:
    """The module tensorrt. `lacking` holds operators that its parser does not know; `configs` the builds there were."""

    BuilderFlag, NetworkDefinitionCreationFlag = BuilderFlag, NetworkDefinitionCreationFlag
    DataType, TensorIOMode, Dims, Logger = DataType, TensorIOMode, Dims, Logger

    def __init__(self, cuda: CudaRuntime) -> None:
        self.__version__ = "10.13.0.35"
        self.cuda, self.fails = cuda, False
        self.lacking: set[str] = set()
        self.configs: list[BuilderConfig] = []
        self.built: list[onnx.ModelProto] = []
        self.Builder, self.OnnxParser, self.Runtime = (
            type(kind.__name__, (kind,), {"fake": self}) for kind in (Builder, OnnxParser, Runtime)
        )


def install(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, CudaRuntime]:
    """Make `import tensorrt` and the CUDA runtime's bindings find the stand-ins; return both."""
    import sys

    cuda = CudaRuntime()
    tensorrt = TensorRt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    return tensorrt, cuda
