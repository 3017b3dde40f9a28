# A graph that TensorRT runs, from a plan that dpr-export built for this bundle and this machine.
# Not yet run on a GPU: docs/engines.md says what of it has been tested, and how.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer._optional import require_tensorrt
from dpr_infer.engines.cuda import Cuda, DeviceArrays
from dpr_infer.engines.profiles import Profile, Range, batched_inputs
from dpr_infer.engines.tensorrt_plans import Machine, plan_key, read_plan
from dpr_infer.errors import EngineError
from dpr_infer.graph_contract import check_actual, contract
from dpr_infer.manifest import Manifest, TensorSpec

if TYPE_CHECKING:
    import tensorrt as trt

Feed = dict[str, NDArray[Any]]


class TensorRtEngine:
    """A graph that TensorRT runs.

    Parameters
    ----------
    folder : Path
        The bundle's folder; the plan lies in its folder engines/.
    manifest : Manifest
        The bundle's manifest.
    name : str
        Which of its graphs.
    precision : {"fp32", "fp16", "int8"}
        Of the plan.

    Raises
    ------
    MissingExtraError
        If TensorRT or cuda-bindings is not installed.
    EngineError
        If there is no plan for this bundle and machine, or TensorRT does not take it.
    BundleError
        If the plan is not of the graph that the manifest declares.
    """

    on_cpu = False

    def __init__(self, folder: Path, manifest: Manifest, name: str, *, precision: str = "fp32") -> None:
        require_tensorrt()
        self.name = name
        self._cuda = Cuda()
        key = plan_key(manifest, name, precision, machine(self._cuda))
        self._engine = _deserialize(read_plan(folder, key), name)
        check_actual(name, manifest, *_specs(self._engine, manifest, name))
        self.providers: tuple[str, ...] = (f"TensorRT SM {key.sm} {precision}",)
        self._outputs = list(contract(manifest.dims, manifest.format_version)[name][1])
        self._profiles = _profiles(self._engine)
        self._contexts = [self._context(profile) for profile in range(len(self._profiles))]
        self._batched = batched_inputs(manifest, name)
        self._max_batch = max(_batch(profile, self._batched) for profile in self._profiles)
        self._memory = DeviceArrays(self._cuda)
        self._lock = Lock()  # contexts, stream and memory serve one call at a time

    def run(self, feed: Feed) -> list[NDArray[Any]]:
        """Run the graph; see `dpr_infer.engine.Engine`. Batches larger than the plan takes are run in parts.

        Parameters
        ----------
        feed : dict of str to ndarray
            The inputs by name, C-contiguous, of the dtypes and shapes of the contract.

        Returns
        -------
        list of ndarray
            The outputs in the order of the contract.

        Raises
        ------
        EngineError
            If TensorRT or CUDA reports a failure, or a size lies outside all of the plan's profiles.
        """
        with self._lock:
            parts = [self._run(part) for part in self._parts(feed)]
        return (
            parts[0] if len(parts) == 1 else [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        )

    def _context(self, profile: int) -> trt.IExecutionContext:
        context = self._engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(profile, self._cuda.stream):
            raise EngineError(f"{self.name}: TensorRT could not make a context for profile {profile}")
        self._cuda.wait()
        return context

    def _parts(self, feed: Feed) -> Iterator[Feed]:
        batch = len(feed[self._batched[0]])
        for start in range(0, batch, self._max_batch):
            rows = slice(start, start + self._max_batch)
            yield {
                name: array[rows] if name in self._batched else array
                for name, array in feed.items()
                if name in self._profiles[0]
            }

    def _run(self, feed: Feed) -> list[NDArray[Any]]:
        context = self._contexts[self._fitting(feed)]
        for name, array in feed.items():
            address = self._memory.address(name, array.nbytes)
            self._cuda.upload(address, array)
            _hold(context.set_input_shape(name, array.shape), self.name, f"shape {array.shape} of {name}")
            _hold(context.set_tensor_address(name, address), self.name, f"memory of {name}")
        found = {}
        for name in self._outputs:
            array = np.empty(_shape(context.get_tensor_shape(name)), dtype=np.float32)
            address = self._memory.address(name, array.nbytes)
            _hold(context.set_tensor_address(name, address), self.name, f"memory of {name}")
            found[name] = array, address
        _hold(context.execute_async_v3(self._cuda.stream), self.name, "call")
        for array, address in found.values():
            self._cuda.download(array, address)
        self._cuda.wait()
        return [array for array, _ in found.values()]

    def _fitting(self, feed: Feed) -> int:
        """Return the first profile that all shapes lie in: they are ordered from single queries to batches."""
        for index, profile in enumerate(self._profiles):
            if all(profile[name].holds(array.shape) for name, array in feed.items()):
                return index
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feed.items())
        limits = ", ".join(f"{name} {limit.greatest}" for name, limit in self._profiles[-1].items())
        raise EngineError(f"{self.name} must have shapes within those of its plan, {limits}; got {shapes}")


def machine(cuda: Cuda) -> Machine:
    """Return what plans are bound to here. TensorRT must be installed."""
    import tensorrt as trt

    return Machine(tensorrt=str(trt.__version__), driver=cuda.driver, gpu=cuda.gpu, sm=cuda.sm)


def _hold(done: bool, name: str, what: str) -> None:
    """Raise unless TensorRT did what it was told; its log says why not."""
    if not done:
        raise EngineError(f"{name} failed to run: TensorRT refused the {what}, and says why on stderr")


def _deserialize(plan: bytes, name: str) -> trt.ICudaEngine:
    import tensorrt as trt

    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"{name}: TensorRT must be able to load its plan; it says why not on stderr")
    return engine


def _specs(
    engine: trt.ICudaEngine, manifest: Manifest, graph: str
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return inputs and outputs as the plan has them, and inputs that it left out because no layer reads them."""
    import tensorrt as trt

    inputs, outputs = contract(manifest.dims, manifest.format_version)[graph]
    dtypes = {trt.DataType.INT64: "int64", trt.DataType.FLOAT: "float32"}
    found: dict[bool, list[TensorSpec]] = {True: [], False: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype = engine.get_tensor_dtype(name)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        _, expected = (inputs if is_input else outputs).get(name, ("", ()))
        shape = _with_dynamic(_shape(engine.get_tensor_shape(name)), expected)
        found[is_input].append(TensorSpec(name, dtypes.get(dtype, str(dtype)), shape))
    read = {spec.name for spec in found[True]}
    unread = [TensorSpec(name, *inputs[name]) for name in inputs if name not in read]
    return found[True] + unread, found[False]


def _shape(dims: trt.Dims) -> tuple[int, ...]:
    return tuple(dims[index] for index in range(len(dims)))


def _with_dynamic(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return a shape with "?" where it may vary. What all profiles agree on is fixed for TensorRT, and may be known."""
    names = expected if len(expected) == len(shape) else shape
    return tuple("?" if d < 0 or isinstance(name, str) else d for d, name in zip(shape, names, strict=True))


def _profiles(engine: trt.ICudaEngine) -> list[Profile]:
    """Return the sizes that a plan was built for."""
    import tensorrt as trt

    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return [
        {name: Range(*map(_shape, engine.get_tensor_profile_shape(name, profile))) for name in inputs}
        for profile in range(engine.num_optimization_profiles)
    ]


def _batch(profile: Profile, batched: tuple[str, ...]) -> int:
    """Return the most queries that a profile takes."""
    return min(limit.greatest[0] for name, limit in profile.items() if name in batched)
