# The checkpoint folder: what training leaves and export reads. JSON, safetensors and Parquet; never pickle.
"""Write and read checkpoint folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from dpr_train.config import ModelConfig
from dpr_train.model import DPR
from dpr_train.prompt_encoder import HEAD_FILE, load_tokenizer, save_prompt_encoder

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "save_checkpoint"]

_ENCODER = "prompt_encoder"
_ENCODER_PREFIX = "prompt_encoder."
_FILES = ("model.safetensors", "items.parquet", "examples.parquet", "training.json", _ENCODER)
_FORMAT = {"format": "dpr-checkpoint", "format_version": 2}


class CheckpointError(Exception):
    """A folder is not a whole, readable checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Parameters
    ----------
    model : DPR
        In evaluation mode.
    tokenizer : Tokenizer
        Of the prompt encoder, set to cut at its limit.
    items : pyarrow.Table
        ``item_id`` string, ``title`` string, ``tags`` list of string, and any other attribute; row = item number.
    examples : pyarrow.Table
        ``name`` string, ``history`` list of string.
    training : dict
        Seeds, data checksum, licence, metrics stage by stage, versions.
    """

    model: DPR
    tokenizer: Tokenizer
    items: pa.Table
    examples: pa.Table
    training: dict[str, Any]


def save_checkpoint(
    folder: Path,
    model: DPR,
    encoder_folder: Path,
    items: pa.Table,
    examples: Sequence[tuple[str, Sequence[str]]],
    training: Mapping[str, Any],
) -> None:
    """Write a checkpoint into ``folder``; ``config.json`` comes last, so a folder that has one is whole.

    Parameters
    ----------
    folder : Path
        Made if missing; other files in it are left alone.
    model : DPR
        Trained.
    encoder_folder : Path
        Hugging Face folder that the prompt encoder was built from: its tokenizer is kept.
    items : pyarrow.Table
        As in :class:`Checkpoint`.
    examples : sequence of (str, sequence of str)
        Names and histories (item ids) for demonstrations.
    training : mapping
        Anything JSON can hold.
    """
    partial = folder / ".partial"
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    tensors = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    # A folder of its own, with head and tokenizer: the next training can start from it.
    save_prompt_encoder(partial / _ENCODER, model.prompt_encoder, encoder_folder / "tokenizer.json")
    rest = {k: v for k, v in tensors.items() if not k.startswith(_ENCODER_PREFIX)}
    save_file(rest, partial / "model.safetensors", {"format": "pt"})
    pq.write_table(items, partial / "items.parquet")
    pq.write_table(_examples_table(examples), partial / "examples.parquet")
    _write_json(partial / "training.json", dict(training))
    _write_json(partial / "config.json", _FORMAT | model.config.model_dump(mode="json"))
    (folder / "config.json").unlink(missing_ok=True)
    for name in (*_FILES, "config.json"):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (partial / name).replace(folder / name)
    partial.rmdir()


def _examples_table(examples: Sequence[tuple[str, Sequence[str]]]) -> pa.Table:
    schema = pa.schema([("name", pa.string()), ("history", pa.list_(pa.string()))])
    return pa.table(
        {"name": [name for name, _ in examples], "history": [list(history) for _, history in examples]},
        schema=schema,
    )


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Read a checkpoint folder and rebuild its model.

    Raises
    ------
    CheckpointError
        If the folder is not a checkpoint, a file is missing or damaged, or sizes do not fit; names what,
        expected and got.
    """
    folder = Path(folder)
    config = _read_config(folder)
    for name in (*_FILES, f"{_ENCODER}/{HEAD_FILE}"):  # a prompt encoder alone would be opened untrained
        if not (folder / name).exists():
            raise CheckpointError(f"{folder}: expected {name}, got none")
    with _reading(folder / "items.parquet"):
        items = pq.read_table(folder / "items.parquet")
        matrix = tag_matrix(items, config.tags)
    if len(items) != config.n_items:
        raise CheckpointError(f"{folder / 'items.parquet'}: expected {config.n_items} rows, got {len(items)}")
    encoder_folder = folder / _ENCODER
    with _reading(encoder_folder):
        model = DPR(config, matrix, encoder_folder)
        tokenizer = load_tokenizer(encoder_folder, config.prompt_encoder.max_tokens)
    with _reading(folder / "model.safetensors"):
        missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    missing = [key for key in missing if not key.startswith(_ENCODER_PREFIX)]
    if missing or unexpected:
        raise CheckpointError(
            f"{folder / 'model.safetensors'}: missing tensors {missing}, unexpected {unexpected}"
        )
    with _reading(folder / "examples.parquet"):
        examples = pq.read_table(folder / "examples.parquet")
    with _reading(folder / "training.json"):
        training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return Checkpoint(
        model=model.eval(), tokenizer=tokenizer, items=items, examples=examples, training=training
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes its reader raise into one error that names the file."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: expected a whole file of a checkpoint, got {reason}") from error


def _read_config(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: expected a checkpoint with config.json, got none (is its training finished?)"
        )
    with _reading(path):
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
    header = {key: stored.pop(key, None) for key in _FORMAT}
    if header != _FORMAT:
        raise CheckpointError(f"{path}: expected {_FORMAT}, got {header}")
    with _reading(path):
        return ModelConfig.model_validate(stored)


def tag_matrix(items: pa.Table, tags: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which item has which tag, bool (N, G), from the column ``tags``; tags that are not listed are ignored."""
    index = {tag: g for g, tag in enumerate(tags)}
    matrix = np.zeros((len(items), len(tags)), dtype=np.bool_)
    for row, names in enumerate(items["tags"].to_pylist()):
        matrix[row, [index[name] for name in names if name in index]] = True
    return matrix


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
