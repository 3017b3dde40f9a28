# Reads structs of Thrift's compact protocol, in which Parquet keeps its footer and the headers of its pages. Stricter
# than other readers: what two of them may take for two things, such as a field that is there twice, is refused.

from __future__ import annotations

from typing import Any

from dpr_infer.errors import BundleError

# Types of fields; the two kinds of bool are one type as an element of a list.
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_FIXED_BYTES = {_BYTE: 1, _DOUBLE: 8}
_BITS = {_I16: 16, _I32: 32, _I64: 64}
_MAX_NESTING = 12
_MAX_VALUES = 2_000_000
_MAX_FIELD = 2**15 - 1

Fields = dict[int, Any]


class CompactReader:
    """Reads structs out of a file.

    A struct is a dict from the numbers of its fields to their values: int, dict, list of these, or None for what is of
    no interest here: bytes, floats and bools.

    Parameters
    ----------
    data : bytes-like
        The file.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._values = 0

    def struct(self, at: int, depth: int = _MAX_NESTING) -> tuple[Fields, int]:
        """Read a struct.

        Parameters
        ----------
        at : int
            Where it begins.
        depth : int
            How deep structs and lists may lie in it.

        Returns
        -------
        fields : dict
            The struct.
        end : int
            Where it ends.

        Raises
        ------
        BundleError
            If there is none, or one that is ambiguous, deep, or as large as no file of ours.
        """
        if not depth:
            raise BundleError("must have flat structs; one nests too deeply")
        fields: Fields = {}
        number = 0
        while True:
            byte, at = self._byte(at)
            if not byte:
                return fields, at
            step, kind = byte >> 4, byte & 15
            if step:
                number += step
            else:
                number, at = self._number(at, _I16)
            if number in fields or not 0 < number <= _MAX_FIELD:
                raise BundleError(
                    f"must have sound structs; one has the field {number} twice or out of range"
                )
            fields[number], at = (None, at) if kind in (_TRUE, _FALSE) else self._value(at, kind, depth)

    def _value(self, at: int, kind: int, depth: int) -> tuple[Any, int]:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise BundleError(f"must have at most {_MAX_VALUES} values in its structs; it has more")
        if kind in _BITS:
            return self._number(at, kind)
        if kind == _STRUCT:
            return self.struct(at, depth - 1)
        if kind == _LIST:
            return self._list(at, depth)
        if kind == _BINARY:
            length, at = self._varint(at)
            return None, self._skip(at, length)
        if kind in _FIXED_BYTES:
            return None, self._skip(at, _FIXED_BYTES[kind])
        raise BundleError(f"must have sound structs; one has a field of type {kind}")

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        if not depth:
            raise BundleError("must have flat structs; one nests too deeply")
        byte, at = self._byte(at)
        count, kind = byte >> 4, byte & 15
        if count == 15:
            count, at = self._varint(at)
        self._skip(at, count)  # an element takes a byte at least: more of them than bytes are a lie
        kind = _BYTE if kind in (_TRUE, _FALSE) else kind
        elements = []
        for _ in range(count):
            element, at = self._value(at, kind, depth - 1)
            elements.append(element)
        return elements, at

    def _skip(self, at: int, length: int) -> int:
        if at + length > len(self._data):
            raise BundleError("must have whole structs; one ends with the file")
        return at + length

    def _byte(self, at: int) -> tuple[int, int]:
        return self._data[self._skip(at, 1) - 1], at + 1

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte, at = self._byte(at)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, at
            if shift > 63:
                raise BundleError("must have sound structs; one has a number without an end")

    def _number(self, at: int, kind: int) -> tuple[int, int]:
        value, at = self._varint(at)
        if value >> _BITS[kind]:  # others would cut it
            raise BundleError(f"must have sound structs; one has a number of more than {_BITS[kind]} bits")
        return (value >> 1) ^ -(value & 1), at


def whole_number(fields: Fields, field: int) -> int:
    """Return the value of a field that must be an integer of at least 0."""
    value = fields.get(field)
    if not isinstance(value, int) or value < 0:
        raise BundleError(f"must have sound structs; one has {value!r:.50} as field {field}")
    return value


def struct_list(fields: Fields, field: int) -> list[Fields]:
    """Return the value of a field that must be a list of structs."""
    value = fields.get(field)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise BundleError(f"must have sound structs; field {field} of one is no list of structs")
    return value
