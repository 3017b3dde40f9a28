# Opens safetensors files of any origin: the header is checked in full, then tensors are mapped without a copy.
#
# The header is read here rather than by the safetensors library, for three reasons: the library takes a name given
# twice, it does not tell where a tensor lies, and it wants a path, which may be another file by the time it is mapped.

from __future__ import annotations

import math
import mmap
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.strict_json import JsonNode, load_object

MAX_HEADER_BYTES = 16 * 2**20
_MAX_DIMENSION = 2**48
_MAX_RANK = 8
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_NUMPY_DTYPE: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """What a header says of one tensor: dtype in the format's spelling, shape, first byte in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int


class TensorFile:
    """An opened safetensors file with a sound header: tensors lie within it, without overlap or gap.

    Parameters
    ----------
    path : Path
        The file. It may be replaced afterwards; what was opened stays.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    metadata : dict of str to str
        The header's metadata, as written.
    tensors : dict of str to StoredTensor
        What it holds, by name.

    Raises
    ------
    BundleError
        If there is no such regular file, or its header is not a valid one.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            # Opening a pipe would wait for a writer, and never end.
            with open(path, "rb", opener=_open_without_waiting) as file:
                self._read(file)
        except (OSError, ValueError) as error:  # ValueError: a file that shrinks meanwhile
            self._refuse(getattr(error, "strerror", None) or str(error))

    def check_names(self, required: Collection[str], optional: Collection[str] = ()) -> None:
        """Refuse a file that lacks a tensor or holds another one.

        Parameters
        ----------
        required : collection of str
            Names that must be there.
        optional : collection of str
            Names that may be there.

        Raises
        ------
        BundleError
            Naming what must be there and what is.
        """
        names = set(self.tensors)
        if not set(required) <= names or not names <= {*required, *optional}:
            may = f" and may hold {', '.join(optional)}" if optional else ""
            raise BundleError(
                f"{self.name} must hold the tensors {', '.join(required)}{may}; "
                f"got {', '.join(self.tensors)[:200]}"
            )

    def check(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        """Compare a tensor's dtype and shape with what is expected.

        Parameters
        ----------
        name : str
            A tensor of the file.
        dtype : str
            Expected dtype, as the format spells it: "F32", "U8".
        shape : tuple of int or None
            Expected shape; None takes any size.

        Returns
        -------
        tuple of int
            The tensor's shape.

        Raises
        ------
        BundleError
            If they differ.
        """
        stored = self.tensors[name]
        fits = len(stored.shape) == len(shape) and all(
            wanted is None or got == wanted for got, wanted in zip(stored.shape, shape, strict=True)
        )
        if stored.dtype != dtype or not fits:
            wanted_text = str(shape).replace("None", "any")
            raise BundleError(
                f"{self.name}: {name} must be {dtype} {wanted_text}; got {stored.dtype} {stored.shape}"
            )
        return stored.shape

    def map(self, name: str, dtype: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Map a tensor, after `check`.

        Parameters
        ----------
        name, dtype, shape
            As in `check`.

        Returns
        -------
        ndarray
            Read-only; its bytes stay on disk until they are read, and keep the mapping alive.

        Raises
        ------
        BundleError
            If dtype or shape differ, or the tensor does not begin at a multiple of its item size.
        """
        found = self.check(name, dtype, shape)
        item, begin = _NUMPY_DTYPE[dtype], self.tensors[name].begin
        if 0 in found:  # NumPy cannot look at an empty range at the end of a buffer
            return np.zeros(found, item)
        if begin % item.itemsize:
            raise BundleError(
                f"{self.name}: {name} must begin at a multiple of {item.itemsize} bytes to be mapped; "
                f"it begins at {begin}"
            )
        return np.frombuffer(self._bytes, item, math.prod(found), begin).reshape(found)

    def _read(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            self._refuse("it is a folder, pipe or device")
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        data = _LENGTH_BYTES + header_bytes
        if status.st_size < _LENGTH_BYTES or header_bytes > MAX_HEADER_BYTES or data > status.st_size:
            self._refuse(f"its header must fit in its {status.st_size} bytes and in {MAX_HEADER_BYTES}")
        try:
            header = load_object(file.read(header_bytes), "header")
            self.metadata = _metadata(header)
            self.tensors = _stored_tensors(header, data, status.st_size)
        except BundleError as error:
            self._refuse(str(error))
        # One mapping serves all tensors; it outlives the open file and the file's name.
        self._bytes = mmap.mmap(file.fileno(), status.st_size, access=mmap.ACCESS_READ)

    def _refuse(self, why: str) -> NoReturn:
        raise BundleError(f"{self.name} must be a valid safetensors file: {why}") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _metadata(header: JsonNode) -> dict[str, str]:
    if _METADATA not in header.keys():  # noqa: SIM118 - a JsonNode is no dict
        return {}
    node = header[_METADATA]
    for key in node.keys():  # noqa: SIM118
        if not isinstance(node[key].value, str):
            node[key].fail("a string")
    return {key: node[key].value for key in node.keys()}  # noqa: SIM118


def _stored_tensors(header: JsonNode, data: int, file_bytes: int) -> dict[str, StoredTensor]:
    """Return all tensors, checked to fill the file from `data` to its end without overlap or gap."""
    found: list[tuple[int, int, str, StoredTensor]] = []
    for name in header.keys():  # noqa: SIM118
        if name != _METADATA:
            found.append(_stored_tensor(name, header[name], data))
    at = data
    for begin, end, name, _ in sorted(found, key=lambda entry: entry[:3]):
        if begin != at:
            raise BundleError(f"header: {name[:100]!r} must begin at byte {at} of the file; got {begin}")
        at = end
    if at != file_bytes:
        raise BundleError(f"header: its tensors must end with the file, at byte {file_bytes}; got {at}")
    return {name: tensor for _, _, name, tensor in found}


def _stored_tensor(name: str, node: JsonNode, data: int) -> tuple[int, int, str, StoredTensor]:
    dtype = node["dtype"].one_of(*_NUMPY_DTYPE)
    shape = tuple(size.integer(0, _MAX_DIMENSION) for size in node["shape"].elements())
    offsets = [offset.integer(0, _MAX_DIMENSION) for offset in node["data_offsets"].elements()]
    if len(shape) > _MAX_RANK:
        node["shape"].fail(f"at most {_MAX_RANK} sizes")
    n_bytes = math.prod(shape) * _NUMPY_DTYPE[dtype].itemsize
    if len(offsets) != 2 or offsets[1] - offsets[0] != n_bytes:
        node["data_offsets"].fail(f"begin and end of {n_bytes} bytes")
    return data + offsets[0], data + offsets[1], name, StoredTensor(dtype, shape, data + offsets[0])
