# Where training computes. What is read from NumPy starts on the CPU; a model's own device says where it has to go.
"""The device of a training, and moving arrays to it."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["DeviceError", "choose_device", "device_of", "has_fast_bf16", "tensors_on"]


class DeviceError(Exception):
    """A device was asked for that this machine, or this build of torch, does not have."""


def choose_device(name: str) -> torch.device:
    """The device of that name, ready for use.

    Parameters
    ----------
    name : {"cpu", "cuda"}
        ``cuda`` is the first GPU that torch sees.

    Raises
    ------
    DeviceError
        If torch sees no GPU; nothing is computed on the CPU in its place.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device: expected a GPU that torch {torch.__version__} can use, got none; "
            "a build of torch without CUDA sees none"
        )
    return torch.device(name)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's parameters are."""
    return next(module.parameters()).device


def tensors_on(device: torch.device, *arrays: npt.NDArray[Any]) -> tuple[Tensor, ...]:
    """The arrays as tensors on a device, in order; on the CPU they share memory."""
    return tuple(torch.from_numpy(array).to(device) for array in arrays)


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere autocast would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))
