# Vectors as callers give them, brought into the form that the core reads: float32, C order.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dpr_infer.errors import QueryError, QueryTypeError
from dpr_infer.request import check_count

_FLOAT32 = np.dtype(np.float32)
_NUMBER_KINDS = "fiu"


def float_array(value: ArrayLike, what: str, shape: tuple[int | None, ...] | None) -> NDArray[np.float32]:
    """Return numbers as a float32 array in C order.

    Parameters
    ----------
    value : array-like of float or int
        What the caller gave. Other types than float32 are rounded to it.
    what : str
        Name of the argument, for messages.
    shape : tuple of int or None, or None
        The shape it must have, where None takes any size; None for any shape.

    Returns
    -------
    ndarray of float32
        `value` itself where it fits already. Whether it is finite is left to the core, except for numbers that
        rounding to float32 made infinite.

    Raises
    ------
    QueryTypeError
        If it does not hold numbers.
    QueryError
        If it has another shape, or a number is too large for float32.
    """
    array = _numbers(value, what)
    if shape is not None and not _fits(array.shape, shape):
        raise QueryError(f"{what} must have the shape {_shape_text(shape)}; got {array.shape}")
    if array.dtype == np.float32:
        return np.require(array, np.float32, ("C", "A"))
    with np.errstate(over="ignore", under="ignore"):
        narrow = np.ascontiguousarray(array, dtype=np.float32)
    if np.isinf(narrow).any() and not np.isinf(array).any():
        raise QueryError(f"{what} must hold numbers that float32 can hold; one is larger")
    return narrow


def part_widths(parts: Sequence[int] | None, dim: int) -> list[int]:
    """Return the widths of the parts of a vector.

    Parameters
    ----------
    parts : sequence of int, or None
        What the caller gave; None for one part.
    dim : int
        D.

    Returns
    -------
    list of int
        One or two widths that sum to D.

    Raises
    ------
    QueryTypeError, QueryError
        If `parts` is something else.
    """
    if parts is None:
        return [dim]
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise QueryTypeError(f"parts must be a sequence of one or two widths; got {parts!r}")
    for width in parts:
        check_count("each of parts", width, 1)
    if len(parts) > 2 or sum(parts) != dim:
        raise QueryError(
            f"parts must be one or two widths with the sum {dim}, that of a vector; got {parts!r}"
        )
    return list(parts)


def query_matrix(value: ArrayLike, dim: int) -> tuple[NDArray[np.float32], bool]:
    """Return queries as the core takes them. On the path of every search: nothing is done to what fits already.

    Parameters
    ----------
    value : array-like of float, shape (B, D) or (D,)
        What the caller gave.
    dim : int
        D.

    Returns
    -------
    queries : ndarray of float32, shape (B, D)
        In C order.
    is_single : bool
        Whether `value` was one query, without an axis B.

    Raises
    ------
    QueryTypeError, QueryError
        As `float_array`.
    """
    array = value if type(value) is np.ndarray else _numbers(value, "queries")
    flags = array.flags
    if array.dtype != _FLOAT32 or not flags.c_contiguous or not flags.aligned:
        array = float_array(array, "queries", None)
    shape = array.shape
    if len(shape) == 2 and shape[1] == dim:
        return array, False
    if len(shape) == 1 and shape[0] == dim:
        return array[None], True
    raise QueryError(f"queries must have the shape (B, {dim}) or ({dim},); got {shape}")


def owned_vectors(value: ArrayLike, what: str) -> NDArray[np.float32]:
    """Return vectors as `float_array` does, in memory that the caller does not write to.

    Parameters
    ----------
    value : array-like of float or int, shape (N, D)
        What the caller gave.
    what : str
        Name of the argument, for messages.

    Returns
    -------
    ndarray of float32, shape (N, D)
        A copy, unless `value` is a read-only float32 array: this is how vectors that are mapped from a file are used
        without loading them.

    Raises
    ------
    QueryTypeError, QueryError
        As `float_array`.
    """
    array = float_array(value, what, (None, None))
    if isinstance(value, list | tuple) or not array.flags.writeable:
        return array
    return array.copy() if np.may_share_memory(array, np.asarray(value)) else array


def _numbers(value: ArrayLike, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise QueryTypeError(
            f"{what} must be an array of numbers; got {type(value).__name__}: {error}"
        ) from None
    if array.dtype.kind not in _NUMBER_KINDS:
        raise QueryTypeError(f"{what} must be an array of numbers; got dtype {array.dtype}")
    return array


def _fits(got: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(got) == len(wanted) and all(w in (None, g) for g, w in zip(got, wanted, strict=True))


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return str(shape).replace("None", "any")
