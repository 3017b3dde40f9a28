# A graph that OpenVINO runs on the CPU. Its ONNX frontend reads the opset of the graphs as it is, Attention included.

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer._optional import import_openvino
from dpr_infer.errors import BundleError, EngineError
from dpr_infer.graph_contract import check_actual, contract
from dpr_infer.manifest import Manifest, TensorSpec

PRECISIONS = ("fp32", "bf16")
_HINT = {"fp32": "f32", "bf16": "bf16"}
_DTYPE = {"i64": "int64", "f32": "float32"}
_DEVICE = "CPU"


class OpenVinoEngine:
    """A graph that OpenVINO runs on the CPU.

    Parameters
    ----------
    folder : Path
        The bundle's folder.
    manifest : Manifest
        The bundle's manifest.
    name : str
        Which of its graphs.
    threads : int
        Threads within the graph.
    precision : {"fp32", "bf16"}
        What sums may be computed in. "bf16" is for CPUs that have it.

    Raises
    ------
    MissingExtraError
        If OpenVINO is not installed.
    BundleError
        If the graph cannot be loaded, or is not the one that the manifest declares.
    EngineError
        If the CPU does not have the precision.
    """

    on_cpu = True

    def __init__(
        self, folder: Path, manifest: Manifest, name: str, *, threads: int, precision: str = "fp32"
    ) -> None:
        openvino = import_openvino()
        core = openvino.Core()
        _check_precision(core, precision)
        model = _read(openvino, folder / manifest.graphs[name].file)
        inputs, outputs = contract(manifest.dims, manifest.format_version)[name]
        found = _specs(model.inputs)
        self._read = frozenset(spec.name for spec in found)
        # The reader leaves out inputs that no node reads.
        unread = [TensorSpec(port, *inputs[port]) for port in inputs if port not in self._read]
        check_actual(name, manifest, found + unread, _specs(model.outputs))
        compiled = core.compile_model(
            model,
            _DEVICE,
            {
                "INFERENCE_PRECISION_HINT": _HINT[precision],
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,  # the process is not ours alone
            },
        )
        self.name = name
        self.providers: tuple[str, ...] = (f"OpenVINO {_DEVICE} {precision}",)
        self._ports = [compiled.output(output) for output in outputs]
        self._request = compiled.create_infer_request()
        self._lock = Lock()  # a request holds the tensors of one call

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph; see `dpr_infer.engine.Engine`.

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
            If OpenVINO reports a failure.
        """
        with self._lock:
            try:
                found = self._request.infer(
                    {port: array for port, array in feed.items() if port in self._read},
                    share_inputs=True,
                    share_outputs=True,
                )
            except Exception as error:
                raise EngineError(f"{self.name} failed to run: {_reason(error)}") from error
            return [np.array(found[port]) for port in self._ports]  # the next call overwrites what is shared


def _check_precision(core: Any, precision: str) -> None:
    """Raise unless the CPU has a precision: OpenVINO itself takes the hint and computes in float32."""
    capabilities = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if precision.upper() not in capabilities:
        raise EngineError(
            f"precision {precision!r} must be one that this CPU has; OpenVINO reports {', '.join(capabilities)}"
        )


def _read(openvino: Any, path: Path) -> Any:
    """Read a graph as ONNX, whatever it looks like: by itself OpenVINO would try its other readers too."""
    frontend = openvino.frontend.FrontEndManager().load_by_framework("onnx")
    try:
        return frontend.convert(frontend.load(io.BytesIO(path.read_bytes())))
    except Exception as error:
        raise BundleError(f"{path.name} must be a graph that OpenVINO can load: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what OpenVINO says at the end; its first lines are places in its sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]


def _specs(ports: Sequence[Any]) -> list[TensorSpec]:
    return [
        TensorSpec(
            port.get_any_name(),
            _DTYPE.get(port.get_element_type().get_type_name(), port.get_element_type().get_type_name()),
            tuple("?" if d.is_dynamic else d.get_length() for d in port.get_partial_shape()),
        )
        for port in ports
    ]
