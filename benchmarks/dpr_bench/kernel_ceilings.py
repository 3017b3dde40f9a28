# What this machine could do at most, a core: bytes from memory and int8 operations a second, measured.
"""Ceilings to hold the kernel's work against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from dpr_bench.kernel_ours import Work

__all__ = ["Ceilings", "Use", "measure_ceilings", "use_of"]

_BYTES = 1 << 30
_SIDE = 1024  # of the int8 matrices: 3 MiB of operands and 4 MiB of results
_REPEATS = 7


@dataclass(frozen=True)
class Ceilings:
    """One core's best of several runs, and how each was measured."""

    read_gb_s: float
    int8_tops: float
    read_how: str
    int8_how: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Use:
    """What a call did, and the shares of the ceilings that this is in the time it took."""

    scanned_share: float
    rescored: float
    megabytes: float
    bandwidth_share: float
    giga_operations: float
    int8_share: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_ceilings(n_bytes: int = _BYTES) -> Ceilings:
    """Measure on the calling thread; the caller pins libraries to it.

    Parameters
    ----------
    n_bytes : int
        Of the array that is read; far more than a cache holds.

    Returns
    -------
    Ceilings
        Reading: the fastest of NumPy's dot product and sum, torch's sum and largest, over one array. Operations:
        onnxruntime's MatMulInteger of unsigned by signed bytes.
    """
    numbers = np.ones(n_bytes // 4, dtype=np.float32)
    tensor = torch.from_numpy(numbers)
    readers: dict[str, Callable[[], object]] = {
        "numpy dot": lambda: numbers @ numbers,
        "numpy sum": numbers.sum,
        "torch sum": tensor.sum,
        "torch max": tensor.max,
    }
    seconds = {name: _best(reader) for name, reader in readers.items()}
    fastest = min(seconds, key=seconds.__getitem__)
    multiply = _integer_product()
    return Ceilings(
        read_gb_s=numbers.nbytes / seconds[fastest] / 1e9,
        int8_tops=2 * _SIDE**3 / _best(multiply) / 1e12,
        read_how=f"{fastest} over {n_bytes / 2**20:.0f} MiB",
        int8_how=f"onnxruntime MatMulInteger u8 x s8, {_SIDE} cubed",
    )


def use_of(work: Work, median_ms: float, ceilings: Ceilings) -> Use:
    """Hold a call's work against the ceilings.

    Parameters
    ----------
    work : Work
        Of one call.
    median_ms : float
        What the call took.
    ceilings : Ceilings
        Of this machine.

    Returns
    -------
    Use
        A share above 1 of the bandwidth means that caches served the call.
    """
    seconds = median_ms / 1e3
    return Use(
        scanned_share=work.scanned / work.pairs,
        rescored=work.rescored,
        megabytes=work.bytes_read / 1e6,
        bandwidth_share=work.bytes_read / seconds / 1e9 / ceilings.read_gb_s,
        giga_operations=work.operations / 1e9,
        int8_share=work.operations / seconds / 1e12 / ceilings.int8_tops,
    )


def _integer_product() -> Callable[[], object]:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 256, (_SIDE, _SIDE), dtype=np.uint8)
    right = rng.integers(-127, 128, (_SIDE, _SIDE), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["left", "right"], ["product"])],
        "product",
        [helper.make_tensor_value_info("left", TensorProto.UINT8, [_SIDE, _SIDE])],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [_SIDE, _SIDE])],
        [numpy_helper.from_array(right, "right")],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"left": left})


def _best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of several calls."""
    taken = []
    for _ in range(_REPEATS):
        begun = perf_counter()
        call()
        taken.append(perf_counter() - begun)
    return min(taken)
