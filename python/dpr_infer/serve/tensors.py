# Tensors of the Open Inference Protocol: as JSON, and as bytes behind the JSON, its binary tensor data extension.
# Everything that a client says of sizes is compared with what came before anything is made of that size.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from msgspec import UNSET, Struct, UnsetType

from dpr_infer.serve.problems import Problem

Parameters = dict[str, bool | int | float | str]

_NUMBERS = {"INT32": np.dtype("<i4"), "FP32": np.dtype("<f4")}
_LARGEST = {"INT32": 2**31 - 1, "FP32": float(np.finfo(np.float32).max)}
_LENGTH_BYTES = 4  # of the length before every BYTES element
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor of the model is.

    Attributes
    ----------
    name : str
        Its name.
    datatype : str
        BYTES, which holds UTF-8, FP32 or INT32.
    shape : tuple of int
        Its dimensions; -1 for any.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


class InputTensor(Struct, kw_only=True, forbid_unknown_fields=True):
    """An input tensor: row-major data, flat or nested, or the size in bytes of what stands behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | UnsetType = UNSET
    parameters: Parameters = {}


class OutputTensor(Struct, kw_only=True, omit_defaults=True):
    """An output tensor, likewise. A score of -inf, where there are fewer than k items, is null in JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str | float | None] | UnsetType = UNSET
    parameters: Parameters = {}


def bad(detail: str) -> Problem:
    """Return the problem of a request that is not of the protocol."""
    return Problem(400, detail)


def read_tensors(
    tensors: Sequence[InputTensor], binary: memoryview, specs: Iterable[TensorSpec]
) -> dict[str, tuple[tuple[int, ...], list[Any]]]:
    """Read input tensors.

    Parameters
    ----------
    tensors : sequence of InputTensor
        What the JSON says of them.
    binary : memoryview
        The bytes behind the JSON: those of one tensor after the other.
    specs : iterable of TensorSpec
        The tensors that there may be.

    Returns
    -------
    dict of str to (tuple of int, list)
        Shape and elements in row-major order, str, float or int, by name.

    Raises
    ------
    Problem
        400, naming the tensor, what is expected and what was got.
    """
    known = {spec.name: spec for spec in specs}
    read: dict[str, tuple[tuple[int, ...], list[Any]]] = {}
    at = 0
    for tensor in tensors:
        spec = known.get(tensor.name)
        if spec is None:
            raise bad(f"inputs must be of {', '.join(known)}; got {tensor.name[:_SHOWN]!r}")
        if tensor.name in read:
            raise bad(f"{tensor.name} must be given once; got it again")
        _check_spec(tensor, spec)
        size = _binary_size(tensor, len(binary) - at)
        values = _from_json(tensor) if size is None else _from_binary(tensor, binary[at : at + size])
        at += size or 0
        read[tensor.name] = tuple(tensor.shape), values
    if at != len(binary):
        raise bad(
            f"the bytes behind the JSON must be those of the inputs, {at} as binary_data_size has it; got {len(binary)}"
        )
    return read


def _check_spec(tensor: InputTensor, spec: TensorSpec) -> None:
    if tensor.datatype != spec.datatype:
        raise bad(f"{spec.name} must be {spec.datatype}; got {tensor.datatype[:_SHOWN]!r}")
    fits = len(tensor.shape) == len(spec.shape) and all(
        size >= 0 if wanted < 0 else size == wanted
        for size, wanted in zip(tensor.shape, spec.shape, strict=True)
    )
    if not fits:
        raise bad(f"{spec.name} must have the shape {list(spec.shape)}; got {str(tensor.shape)[:_SHOWN]}")


def _binary_size(tensor: InputTensor, left: int) -> int | None:
    """Return how many bytes behind the JSON are the tensor's; None if its data are in the JSON."""
    others = tensor.parameters.keys() - {"binary_data_size"}
    if others:
        raise bad(f"{tensor.name} may have the parameter binary_data_size; got {min(others)[:_SHOWN]!r}")
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (tensor.data is UNSET):
        raise bad(f"{tensor.name} must have either data or the parameter binary_data_size")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
        raise bad(
            f"binary_data_size of {tensor.name} must be from 0 to {left}, the bytes that are left; got {size!r:.60}"
        )
    return size


def _from_json(tensor: InputTensor) -> list[Any]:
    data, count = tensor.data, prod(tensor.shape)
    assert data is not UNSET
    if len(tensor.shape) == 2 and data and isinstance(data[0], list):
        rows, columns = tensor.shape
        if len(data) != rows or not all(isinstance(row, list) and len(row) == columns for row in data):
            raise bad(f"data of {tensor.name} must be {rows} rows of {columns}; they are not")
        data = list(chain.from_iterable(data))
    if len(data) != count:
        raise bad(f"data of {tensor.name} must be {count} elements, as its shape has it; got {len(data)}")
    for place, value in enumerate(data):
        if not _fits(value, tensor.datatype):
            raise bad(f"data of {tensor.name}[{place}] must be {_wanted(tensor.datatype)}; got {value!r:.60}")
    return data


def _fits(value: object, datatype: str) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int if datatype == "INT32" else int | float):
        return False
    return abs(value) <= _LARGEST[datatype]


def _wanted(datatype: str) -> str:
    return {"BYTES": "a text", "INT32": "an integer of 32 bits", "FP32": "a number of 32 bits"}[datatype]


def _from_binary(tensor: InputTensor, content: memoryview) -> list[Any]:
    count = prod(tensor.shape)
    if tensor.datatype == "BYTES":
        return _read_texts(tensor.name, content, count)
    kind = _NUMBERS[tensor.datatype]
    if len(content) != count * kind.itemsize:
        raise bad(f"{tensor.name} must have {count * kind.itemsize} bytes; got {len(content)}")
    values: list[Any] = np.frombuffer(content, dtype=kind).tolist()
    return values


def _read_texts(name: str, content: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "little")
        if start > len(content) or at > len(content):
            raise bad(f"{name}[{len(texts)}] must end within its {len(content)} bytes; it does not")
        if len(texts) == count:
            raise bad(f"{name} must have {count} elements, as its shape has it; got more")
        try:
            texts.append(str(content[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise bad(f"{name}[{len(texts)}] must be UTF-8; it is not") from None
    if len(texts) < count:
        raise bad(f"{name} must have {count} elements, as its shape has it; got {len(texts)}")
    return texts


def json_tensor(spec: TensorSpec, shape: Sequence[int], values: Sequence[str | float]) -> OutputTensor:
    """Return an output tensor with its elements, given in row-major order, in the JSON."""
    data = [None if value == float("-inf") else value for value in values]
    return OutputTensor(name=spec.name, shape=list(shape), datatype=spec.datatype, data=data)


def binary_tensor(
    spec: TensorSpec, shape: Sequence[int], values: Sequence[str | float]
) -> tuple[OutputTensor, bytes]:
    """Return an output tensor and its elements, given in row-major order, as the bytes to send behind the JSON."""
    if spec.datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        content = b"".join(part for t in texts for part in (len(t).to_bytes(_LENGTH_BYTES, "little"), t))
    else:
        content = np.array(values, dtype=_NUMBERS[spec.datatype]).tobytes()
    tensor = OutputTensor(
        name=spec.name,
        shape=list(shape),
        datatype=spec.datatype,
        parameters={"binary_data_size": len(content)},
    )
    return tensor, content
