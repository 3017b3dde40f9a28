# catalogue.safetensors: validated by the safetensors library, then mapped into memory without a copy.

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import BundleError
from dpr_infer.manifest import Dims

_NUMPY_DTYPE: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "U64": np.dtype("<u8")}


@dataclass(frozen=True, slots=True)
class CatalogueArrays:
    """The arrays of a catalogue.

    Attributes
    ----------
    vectors : ndarray of float32, shape (items, item), read-only
        Item vectors, mapped from the file.
    tag_bits : ndarray of uint64, shape (items, tag_words), read-only
        Tag bitsets, mapped from the file.
    tag_embeddings : ndarray of float32, shape (tags, token)
        Embeddings of the tags' names.
    tag_vectors : ndarray of float32, shape (tags, side)
        Side vectors of the tags.
    """

    vectors: NDArray[np.float32]
    tag_bits: NDArray[np.uint64]
    tag_embeddings: NDArray[np.float32]
    tag_vectors: NDArray[np.float32]


def read_catalogue(path: Path, dims: Dims) -> CatalogueArrays:
    """Open a catalogue file.

    Parameters
    ----------
    path : Path
        The file.
    dims : Dims
        The sizes that the manifest states.

    Returns
    -------
    CatalogueArrays
        Vectors and bitsets stay on disk until they are read.

    Raises
    ------
    BundleError
        If the file is not valid safetensors, has other tensors, dtypes or shapes than docs/bundle_format.md
        says, sets bits past the last tag, or holds a number in the tags' arrays that is not finite. (Whether
        the item vectors are finite is checked by the core, which reads them anyway.)
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "vectors": ("F32", (dims.items, dims.item)),
        "tag_bits": ("U64", (dims.items, dims.tag_words)),
        "tag_embeddings": ("F32", (dims.tags, dims.token)),
        "tag_vectors": ("F32", (dims.tags, dims.side)),
    }
    _check_header(path, shapes)
    offsets = _data_offsets(path)
    arrays: dict[str, NDArray[Any]] = {
        name: _map(path, name, dtype, shape, offsets[name]) for name, (dtype, shape) in shapes.items()
    }
    _check_last_word(path, arrays["tag_bits"], dims.tags)
    for name in ("tag_embeddings", "tag_vectors"):
        if not np.isfinite(arrays[name]).all():
            raise BundleError(f"{path.name}: {name} must be finite; it holds NaN or an infinity")
        # Small, and handed to every run of an engine: a plain array in memory serves that best.
        arrays[name] = np.array(arrays[name], dtype=np.float32)
    return CatalogueArrays(**arrays)


def _check_header(path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            got = {
                name: (file.get_slice(name).get_dtype(), tuple(file.get_slice(name).get_shape()))
                for name in names
            }
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path.name} must be a valid safetensors file: {error}") from None
    if sorted(names) != sorted(shapes):
        raise BundleError(
            f"{path.name} must hold the tensors {', '.join(shapes)}; got {', '.join(names)[:200]}"
        )
    for name, expected in shapes.items():
        if got[name] != expected:
            raise BundleError(
                f"{path.name}: {name} must be {expected[0]} {expected[1]}; got {got[name][0]} {got[name][1]}"
            )


def _data_offsets(path: Path) -> dict[str, int]:
    """Return where each tensor's bytes begin in the file; the header has been validated before."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    header.pop("__metadata__", None)
    return {name: 8 + header_bytes + int(entry["data_offsets"][0]) for name, entry in header.items()}


def _map(path: Path, name: str, dtype_name: str, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
    dtype = _NUMPY_DTYPE[dtype_name]
    if 0 in shape:  # an empty range cannot be mapped
        return np.zeros(shape, dtype)
    if offset % dtype.itemsize:
        raise BundleError(
            f"{path.name}: {name} must begin at a multiple of {dtype.itemsize} bytes to be mapped; "
            f"it begins at {offset}"
        )
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape).view(np.ndarray)


def _check_last_word(path: Path, tag_bits: NDArray[np.uint64], tags: int) -> None:
    used = tags - 64 * (tag_bits.shape[1] - 1)
    if used < 64 and (tag_bits[:, -1] >> np.uint64(used)).any():
        raise BundleError(f"{path.name}: tag_bits must be 0 past the last of {tags} tags; some are set")
