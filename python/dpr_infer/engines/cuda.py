# The few calls of the CUDA runtime that an engine needs: what machine this is, device memory, copies.

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from numpy.typing import NDArray

from dpr_infer._optional import import_cuda_runtime
from dpr_infer.errors import EngineError


class Cuda:
    """The CUDA device that is current, and a stream of its own on it.

    Raises
    ------
    MissingExtraError
        If cuda-bindings is not installed.
    EngineError
        If there is no device that works.
    """

    def __init__(self) -> None:
        self._runtime = import_cuda_runtime()
        self._device: int = self._call("cudaGetDevice")
        self.stream: int = int(self._call("cudaStreamCreate"))
        # At exit the driver clears up by itself, and may be gone before us.
        weakref.finalize(self, self._runtime.cudaStreamDestroy, self.stream).atexit = False

    @property
    def sm(self) -> str:
        """Compute capability of the device, "9.0"."""
        attributes = self._runtime.cudaDeviceAttr
        major, minor = (
            self._call("cudaDeviceGetAttribute", attribute, self._device)
            for attribute in (
                attributes.cudaDevAttrComputeCapabilityMajor,
                attributes.cudaDevAttrComputeCapabilityMinor,
            )
        )
        return f"{major}.{minor}"

    @property
    def gpu(self) -> str:
        """Name of the device, "NVIDIA H100 80GB HBM3"."""
        name = self._call("cudaGetDeviceProperties", self._device).name
        return bytes(name).split(b"\0")[0].decode("ascii", errors="replace")

    @property
    def driver(self) -> str:
        """The newest CUDA version that the driver has, "12.8"."""
        version: int = self._call("cudaDriverGetVersion")
        return f"{version // 1000}.{version % 1000 // 10}"

    def allocate(self, n_bytes: int) -> int:
        """Return the address of new device memory, of at least one byte. Raises EngineError."""
        return int(self._call("cudaMalloc", max(1, n_bytes)))

    def free(self, address: int) -> None:
        """Give device memory back. Raises EngineError."""
        self._call("cudaFree", address)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Begin to copy a C-contiguous array to the device; it must live until `wait`. Raises EngineError."""
        self._copy(address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def download(self, array: NDArray[Any], address: int) -> None:
        """Begin to copy from the device to a C-contiguous array, which has its values after `wait`."""
        self._copy(array.ctypes.data, address, array.nbytes, "cudaMemcpyDeviceToHost")

    def wait(self) -> None:
        """Wait for all that was begun. Raises EngineError if any of it failed."""
        self._call("cudaStreamSynchronize", self.stream)

    def _copy(self, to: int, source: int, n_bytes: int, kind: str) -> None:
        if n_bytes:
            direction = getattr(self._runtime.cudaMemcpyKind, kind)
            self._call("cudaMemcpyAsync", to, source, n_bytes, direction, self.stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function, which returns its status and what it has to give."""
        status, *values = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            _, text = self._runtime.cudaGetErrorString(status)
            raise EngineError(f"{name} failed: {text.decode(errors='replace')} (CUDA error {int(status)})")
        return values[0] if values else None


class DeviceArrays:
    """Device memory by name, which grows as needed, is kept between calls, and goes when this does.

    Parameters
    ----------
    cuda : Cuda
        The device.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._held: dict[str, tuple[int, int]] = {}  # address and bytes
        weakref.finalize(self, _free_all, cuda, self._held).atexit = False

    def address(self, name: str, n_bytes: int) -> int:
        """Return the address of memory of at least so many bytes. Raises EngineError."""
        address, held = self._held.get(name, (0, -1))
        if held < n_bytes:
            if held >= 0:
                del self._held[name]
                self._cuda.free(address)
            address = self._cuda.allocate(n_bytes)
            self._held[name] = address, n_bytes
        return address


def _free_all(cuda: Cuda, held: dict[str, tuple[int, int]]) -> None:
    while held:
        with contextlib.suppress(EngineError):  # a device that failed has nothing to give back
            cuda.free(held.popitem()[1][0])
