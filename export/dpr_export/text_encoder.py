# The encoder that training read items' texts with, as an optional graph of the bundle: items that are added later get
# the place that training would have given them.
"""The graph ``text_encoder``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from dpr_export.errors import ExportError
from dpr_export.graph import ExportedGraph, export_graph
from dpr_export.int8_loss import INT8_LOSS, Loss, check_int8_loss
from dpr_export.prompt_graph import TextGraph
from dpr_export.quantize import quantize_text_encoder
from dpr_export.validate import FP32_BOUND, Array, ParityRow, relative_error
from dpr_infer.item_text import describe
from dpr_train.checkpoint import Checkpoint
from dpr_train.item_texts import TextEmbedder, places_of
from dpr_train.prompt_encoder import tokenize

__all__ = ["TextEncoder", "TextLoss", "export_text_encoder"]

_ITEMS = 500  # items of the catalogue whose places are compared
_BATCH = 8
# Another encoder's places are far away; those of this one differ by the order of sums alone.
_SAME_ENCODER = 0.999


@dataclass(frozen=True, kw_only=True)
class TextLoss(Loss):
    """What int8 does to the places of the catalogue's own items.

    Parameters
    ----------
    items : int
        How many were read.
    cosine : float
        Mean cosine of an item's place and of that which training gave it.
    least_cosine : float
        The least of them.
    """

    part: ClassVar[str] = "text encoder"
    way_out: ClassVar[str] = "--text-encoder fp32"

    items: int
    cosine: float
    least_cosine: float

    @property
    def measured_on(self) -> str:
        """What was asked."""
        return f"{self.items} items of the catalogue"

    @property
    def losses(self) -> dict[str, float]:
        """What the limit is about, by name."""
        return {
            "1 - mean cosine of the places": 1 - self.cosine,
            "1 - least cosine": 1 - self.least_cosine,
        }


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder that was written and compared: its graph, the comparisons, and what the manifest says of it."""

    graph: ExportedGraph
    rows: list[ParityRow]
    notes: dict[str, Any]
    max_tokens: int


@torch.no_grad()
def export_text_encoder(
    checkpoint: Checkpoint,
    source: Path,
    folder: Path,
    *,
    precision: str,
    int8_loss: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TextEncoder:
    """Write ``text_encoder.onnx`` and compare it, in float32, with PyTorch and with the places that training gave.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its model's items have places by their texts.
    source : Path
        Hugging Face folder of the encoder that read them in training.
    folder : Path
        Where to write.
    precision : {"fp32", "int8"}
        Of the weights.
    int8_loss : float, optional
        The most that int8 may take off the cosine of an item's place; ``INT8_LOSS`` by default.
    say : callable
        Told what is being done.

    Raises
    ------
    ExportError
        If the model's items have no places by texts, or the encoder is not the one that gave them.
    Int8LossError
        If int8 moves the places too far.
    """
    embed = _embedder(checkpoint, source)
    say("exporting the text encoder to ONNX")
    dim = checkpoint.model.config.steering.text_dim
    graph = ExportedGraph(
        "text_encoder.onnx",
        (("input_ids", "int64", ("B", "T")), ("attention_mask", "int64", ("B", "T"))),
        (("place", "float32", ("B", dim)),),
    )
    fusion, path = checkpoint.model.fusion, folder / graph.file
    export_graph(TextGraph(embed.encoder, fusion.text_mean, fusion.text_basis), graph, path)
    rows_of_items, descriptions = _some_items(checkpoint)
    say(f"reading {len(descriptions)} items' texts")
    wanted = checkpoint.model.text_vectors[rows_of_items].numpy()
    found = _places(path, embed, descriptions)
    _check_source(source, _cosines(found, wanted))
    rows = _parity(path, embed, fusion.text_mean, fusion.text_basis, descriptions)
    notes: dict[str, Any] = {"base": source.resolve().name, "precision": precision}
    if precision == "int8":
        say("quantising the text encoder")
        quantize_text_encoder(path)
        cosines = _cosines(_places(path, embed, descriptions), wanted)
        loss = TextLoss(items=len(cosines), cosine=float(cosines.mean()), least_cosine=float(cosines.min()))
        limit = INT8_LOSS if int8_loss is None else int8_loss
        check_int8_loss(loss, limit)
        notes["int8"] = loss.as_dict() | {"limit": limit}
    return TextEncoder(graph, rows, notes, embed.max_tokens)


def _embedder(checkpoint: Checkpoint, source: Path) -> TextEmbedder:
    model = checkpoint.model
    steering = model.config.steering
    if not steering.text_dim or "text" not in steering.item_sides or not model.text_vectors.any():
        raise ExportError(
            "a text encoder: expected a model whose items have places by their texts, got one without"
        )
    embed = TextEmbedder(source)
    if embed.dim != model.prompt_encoder.token_dim:
        raise ExportError(
            f"{source}: expected the encoder that read the texts in training, {model.prompt_encoder.token_dim} wide, "
            f"got {embed.dim}"
        )
    if _cutting(embed.tokenizer.to_str()) != _cutting(checkpoint.tokenizer.to_str()):
        raise ExportError(
            f"{source}: expected a text encoder with the prompt encoder's tokenizer, got another; a bundle has one"
        )
    return embed


def _cutting(tokenizer: str) -> dict[str, Any]:
    """A tokenizer but for its limits."""
    return {
        key: value for key, value in json.loads(tokenizer).items() if key not in ("truncation", "padding")
    }


def _some_items(checkpoint: Checkpoint) -> tuple[list[int], list[str]]:
    """Rows of items, evenly chosen, and their descriptions."""
    table = checkpoint.items
    rows = np.unique(np.linspace(0, len(table) - 1, _ITEMS, dtype=np.int64)).tolist()
    table = table.take(rows).to_pydict()
    texts = table.get("text") or [""] * len(rows)
    return rows, [describe(*of) for of in zip(table["title"], table["tags"], texts, strict=True)]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _places(path: Path, embed: TextEmbedder, descriptions: Sequence[str]) -> Array:
    """Places float32 (n, text_dim), of texts that are read one by one as the runtime does."""
    session = _session(path)
    return np.concatenate([_run(session, embed, [text]) for text in descriptions])


def _run(session: onnxruntime.InferenceSession, embed: TextEmbedder, texts: Sequence[str]) -> Array:
    ids, mask = tokenize(embed.tokenizer, texts)
    place: Array = session.run(["place"], {"input_ids": ids, "attention_mask": mask})[0]
    return place


def _cosines(found: Array, wanted: Array) -> Array:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    cosines: Array = (found * wanted).sum(1) / np.maximum(lengths, 1e-12)
    return cosines


def _check_source(source: Path, cosines: Array) -> None:
    if not cosines.mean() >= _SAME_ENCODER:
        raise ExportError(
            f"{source}: expected the encoder that read the texts in training, whose places the checkpoint has; got one "
            f"whose places have a mean cosine of {cosines.mean():.3f} with them. --text-encoder-from names its folder"
        )


def _parity(
    path: Path, embed: TextEmbedder, mean: Tensor, basis: Tensor, descriptions: Sequence[str]
) -> list[ParityRow]:
    """The graph against PyTorch, at lengths that were never traced, alone and padded together."""
    session = _session(path)
    by_length = sorted(set(descriptions), key=len)
    rows = []
    for texts in ([by_length[0]], [by_length[-1]], by_length[:: max(1, len(by_length) // _BATCH)]):
        expected = places_of(embed(texts), mean, basis).numpy()
        error = relative_error(_run(session, embed, texts), expected)
        length = tokenize(embed.tokenizer, texts)[0].shape[1]
        rows.append(ParityRow("text_encoder", "place", len(texts), length, error, FP32_BOUND))
    return rows
