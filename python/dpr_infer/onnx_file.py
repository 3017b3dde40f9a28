# Looks into ONNX files before an engine does: nothing may lie outside the file. Engines follow a path that a graph
# names, or an address in memory, so a graph that was forged could read what is none of its business. Operators that are
# not ONNX's own may do the like.
#
# ONNX is Protocol Buffers. The wire format is read here because the runtime does without the onnx package.

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dpr_infer.errors import BundleError

# Of each message that may hold a tensor at some depth: its fields that do, and the messages that they are.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING, _OPSET = range(9)
_WITHIN: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 8: _OPSET, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_DOMAIN, _VERSION, _NODE_DOMAIN = 1, 2, 7
_ONNX = (b"", b"ai.onnx")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
# Our largest graph has some ten thousand fields, and graphs within graphs none.
_MAX_FIELDS = 2_000_000
_MAX_DEPTH = 32


def check_onnx_file(path: Path, opset: int) -> None:
    """Check that an ONNX file is whole, needs nothing outside it, and has the opset that the manifest states.

    Parameters
    ----------
    path : Path
        The file.
    opset : int
        Version of the ONNX operators.

    Raises
    ------
    BundleError
        If it is not, refers to another file, has operators that are not ONNX's or another opset, or is a bomb of
        millions of fields.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            got = _Walk(path.name, content).opsets()
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise BundleError(
            f"{path.name} must be an ONNX file: {getattr(error, 'strerror', None) or error}"
        ) from None
    if got != [opset]:
        shown = ", ".join(map(str, got[:5])) or "none"
        raise BundleError(f"{path.name} must have the opset {opset} that the manifest states; got {shown}")


class _Walk:
    """One walk through a file."""

    def __init__(self, name: str, content: Any) -> None:
        self._name = name
        self._content = content
        self._fields = 0

    def opsets(self) -> list[int]:
        """Go through all that may hold a tensor; return the versions of ONNX's own operators."""
        found: list[int] = []
        todo = [(_MODEL, 0, len(self._content), 0)]
        while todo:
            message, begin, end, depth = todo.pop()
            if depth > _MAX_DEPTH:
                raise self._wrong("it nests too deeply")
            if message == _TENSOR:
                self._check_tensor(begin, end)
            elif message == _OPSET:
                found += self._opset(begin, end)
            else:
                within = _WITHIN[message]
                for field, wire, at, stop in self._fields_of(begin, end):
                    if field in within:
                        if wire != _BYTES:
                            raise self._wrong(f"field {field} of a message must be a message")
                        todo.append((within[field], at, stop, depth + 1))
                    elif message == _NODE and field == _NODE_DOMAIN and self._content[at:stop] not in _ONNX:
                        raise BundleError(
                            f"{self._name} must use ONNX's own operators alone; one is of another domain"
                        )
        return found

    def _check_tensor(self, begin: int, end: int) -> None:
        for field, wire, at, _ in self._fields_of(begin, end):
            if field == _EXTERNAL_DATA or (
                field == _DATA_LOCATION and wire == _VARINT and self._varint(at, end)[0] == _EXTERNAL
            ):
                raise BundleError(f"{self._name} must hold all its tensors; one lies in another file")

    def _opset(self, begin: int, end: int) -> list[int]:
        domain, version = b"", 0
        for field, wire, at, stop in self._fields_of(begin, end):
            if field == _DOMAIN and wire == _BYTES:
                domain = bytes(self._content[at:stop])
            elif field == _VERSION and wire == _VARINT:
                version = self._varint(at, end)[0]
        return [version] if domain in _ONNX else []

    def _fields_of(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Return number, wire type, begin and end of each field of a message."""
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise self._wrong(f"it has more than {_MAX_FIELDS} fields")
            tag, at = self._varint(at, end)
            field, wire = tag >> 3, tag & 7
            if wire == _BYTES:
                length, at = self._varint(at, end)
                stop = at + length
            elif wire == _VARINT:
                _, stop = self._varint(at, end)
            elif wire in _FIXED_BYTES:
                stop = at + _FIXED_BYTES[wire]
            else:
                raise self._wrong(f"it has a field of the wire type {wire}")
            if stop > end:
                raise self._wrong("a field is longer than what it lies in")
            yield field, wire, at, stop
            at = stop

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 64:
            byte = self._content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, at
        raise self._wrong("a number has no end")

    def _wrong(self, why: str) -> BundleError:
        return BundleError(f"{self._name} must be an ONNX file: {why}")
