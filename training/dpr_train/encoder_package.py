# The trained prompt encoder as one small file: what ships with the package, and the folder that it unpacks to.
"""Pack a trained prompt encoder into few bytes, and unpack it."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save, save_file

from dpr_train.prompt_encoder import HEAD_FILE
from dpr_train.weight_codes import EMBEDDING_GROUP, EMBEDDING_LEVELS, decode, encode

__all__ = ["PackageError", "pack_prompt_encoder", "shipped_prompt_encoder", "unpack_prompt_encoder"]

_FILE = "english.zip"
_WEIGHTS = ("model.safetensors", HEAD_FILE)
_TEXTS = ("config.json", "tokenizer.json", "training.json")
_EMBEDDINGS = "embeddings.word_embeddings.weight"
_MATRIX_LEVELS = 63  # of all other matrices, a scale a row: seven bits
_CODES, _SCALES = ".codes", ".scales"

Tensors = dict[str, npt.NDArray[Any]]


class PackageError(Exception):
    """A file is not a packed prompt encoder."""


def pack_prompt_encoder(folder: Path, out: Path) -> int:
    """Write a trained prompt encoder's folder as one file and return its size in bytes.

    Matrices become integers with scales: four bits for the word embeddings, which were rounded so before training,
    seven for the others. Vectors become float16.

    Parameters
    ----------
    folder : Path
        As :func:`dpr_train.train_encoder.train_prompt_encoder` leaves it.
    out : Path
        The file; its folder is made if missing.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in _WEIGHTS:
            _add(archive, f"{name}.xz", lzma.compress(save(_shrink(load_file(folder / name))), preset=9))
        for name in _TEXTS:
            if (folder / name).is_file():
                _add(archive, f"{name}.xz", lzma.compress((folder / name).read_bytes(), preset=9))
    return out.stat().st_size


def unpack_prompt_encoder(package: Path | bytes, folder: Path) -> Path:
    """Write the folder that a package was made of, its weights rounded; whole or not at all.

    Parameters
    ----------
    package : Path or bytes
        What :func:`pack_prompt_encoder` wrote.
    folder : Path
        Made; replaced if it exists.

    Raises
    ------
    PackageError
        If the file is not such a package, or damaged.
    """
    content = package if isinstance(package, bytes) else package.read_bytes()
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in _WEIGHTS:
                tensors = _grow(load(lzma.decompress(archive.read(f"{name}.xz"))))
                save_file(tensors, partial / name, {"format": "pt"})
            for name in _TEXTS:
                if f"{name}.xz" in archive.namelist():
                    (partial / name).write_bytes(lzma.decompress(archive.read(f"{name}.xz")))
    except (zipfile.BadZipFile, lzma.LZMAError, SafetensorError, KeyError, ValueError, EOFError) as error:
        shutil.rmtree(partial)
        where = "the package" if isinstance(package, bytes) else package
        raise PackageError(f"{where}: expected a packed prompt encoder, got {error}") from error
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return folder


def shipped_prompt_encoder(cache_dir: Path) -> Path:
    """Folder of the prompt encoder that ships with the package; unpacked once, and again when another one ships.

    Parameters
    ----------
    cache_dir : Path
        Where the folder is kept.
    """
    content = (files("dpr_train") / "prompt_encoders" / _FILE).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder = cache_dir / f"prompt-encoder-{digest}"
    return folder if folder.is_dir() else unpack_prompt_encoder(content, folder)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # A fixed date: the same encoder gives the same file.
    archive.writestr(zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0)), content)


def _shrink(tensors: Tensors) -> Tensors:
    small: Tensors = {}
    for name, values in tensors.items():
        if values.ndim != 2 or not values.size:
            small[name] = values.astype(np.float16) if values.dtype == np.float32 else values
            continue
        levels, group = (
            (EMBEDDING_LEVELS, EMBEDDING_GROUP) if name == _EMBEDDINGS else (_MATRIX_LEVELS, values.shape[1])
        )
        codes, scales = encode(values, levels=levels, group=group)
        small[name + _CODES] = _two_in_one(codes) if name == _EMBEDDINGS else codes
        small[name + _SCALES] = scales
    return small


def _grow(tensors: Tensors) -> Tensors:
    grown: Tensors = {}
    for name, values in tensors.items():
        if name.endswith(_CODES):
            codes = _one_by_one(values) if name == _EMBEDDINGS + _CODES else values
            grown[name.removesuffix(_CODES)] = decode(codes, tensors[name.removesuffix(_CODES) + _SCALES])
        elif not name.endswith(_SCALES):
            grown[name] = values.astype(np.float32) if values.dtype == np.float16 else values
    return grown


def _two_in_one(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Codes of four bits, two in a byte: int8 (R, C) -> uint8 (R, C / 2)."""
    raised: npt.NDArray[np.uint8] = (codes + 8).astype(np.uint8)
    return np.bitwise_or(raised[:, 0::2], np.left_shift(raised[:, 1::2], 4), dtype=np.uint8)


def _one_by_one(packed: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    codes = np.empty((len(packed), 2 * packed.shape[1]), dtype=np.int8)
    codes[:, 0::2] = (packed & 15).astype(np.int8) - 8
    codes[:, 1::2] = (packed >> 4).astype(np.int8) - 8
    return codes
