# Puts a bundle together, and has it moved where it belongs when all of it is right.
"""Checkpoint -> bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pyarrow.parquet as pq
import torch

from dpr_export.backbone_loss import measure_backbone_loss
from dpr_export.backbone_step import export_backbone_step, state_width
from dpr_export.catalogue import catalogue_tensors, index_sizes, write_catalogue
from dpr_export.errors import ExportError, ParityError
from dpr_export.graph import ExportedGraph, export_graphs, fusion_widths
from dpr_export.hnsw import HnswSettings, measure_recall, write_hnsw
from dpr_export.int8_loss import INT8_LOSS, Loss, check_int8_loss, measure_int8_loss
from dpr_export.joint_loss import measure_joint_loss
from dpr_export.quantize import quantize_backbone, quantize_prompt_encoder
from dpr_export.text_encoder import TextEncoder, export_text_encoder
from dpr_export.validate import ParityRow, validate
from dpr_infer import Recommender
from dpr_infer._optional import import_hnswlib
from dpr_infer.bundle_folder import check_destination, seal, sha256, whole_folder
from dpr_train.checkpoint import Checkpoint, CheckpointError, load_checkpoint

__all__ = ["PRECISIONS", "export_bundle"]

PRECISIONS = ("fp32", "int8")
# What the manifest takes over from the checkpoint's training.json.
_RECORD_KEYS = ("dataset", "data_sha256", "licence", "redistributable")


def export_bundle(
    checkpoint_folder: Path,
    out: Path,
    *,
    precision: str = "fp32",
    backbone_precision: str = "fp32",
    force: bool = False,
    text_encoder: tuple[Path, str] | None = None,
    hnsw: HnswSettings | None = None,
    int8_loss: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[ParityRow]:
    """Write a bundle from a checkpoint; ``out`` exists afterwards whole, or as it was before.

    Parameters
    ----------
    checkpoint_folder : Path
        What training left.
    out : Path
        Bundle folder to make.
    precision : {"fp32", "int8"}
        Of the prompt encoder.
    backbone_precision : {"fp32", "int8"}
        Of the backbone; int8 is for SASRec and BERT4Rec.
    text_encoder : (Path, {"fp32", "int8"}), optional
        Add the graph that reads the texts of items that are added later: the Hugging Face folder of the encoder that
        read the texts in training, and the precision of its weights.
    force : bool
        Replace a bundle that stands at ``out``.
    hnsw : HnswSettings, optional
        Add an approximate index, built so. Takes hnswlib.
    int8_loss : float, optional
        The most that what is int8 may lose, as :func:`dpr_export.int8_loss.check_int8_loss` has it; ``INT8_LOSS`` by
        default.
    say : callable
        Told what is being done.

    Returns
    -------
    list of ParityRow
        All comparisons with PyTorch; each has passed.

    Raises
    ------
    CheckpointError
        If the checkpoint is not whole.
    ExportError
        If ``out`` is taken, or a value can't be exported.
    ParityError
        If a comparison exceeds its bound; the message lists every one that does.
    Int8LossError
        If int8 loses more than ``int8_loss``.
    MissingExtraError
        If hnswlib is needed and not installed.
    """
    if hnsw is not None:
        import_hnswlib()  # its absence is told at once, not after a minute of work
    wishes = {"precision": precision, "backbone precision": backbone_precision}
    wishes |= {"text encoder": text_encoder[1]} if text_encoder else {}
    for name, wanted in wishes.items():
        if wanted not in PRECISIONS:
            raise ExportError(f"{name}: expected one of {', '.join(PRECISIONS)}, got {wanted!r}")
    check_destination(out, force=force, error=ExportError)
    say(f"reading {checkpoint_folder}")
    checkpoint = load_checkpoint(checkpoint_folder)
    _check_record(checkpoint, checkpoint_folder)
    _check_weights(checkpoint)
    if backbone_precision == "int8":
        _check_quantisable(checkpoint)
    precisions = {"prompt_encoder": precision, "backbone": backbone_precision}
    with whole_folder(out, force=force, error=ExportError) as folder, TemporaryDirectory() as scratch:
        plain = Path(scratch)
        texts = None
        if text_encoder is not None:
            source, of_texts = text_encoder
            texts = export_text_encoder(
                checkpoint, source, folder, precision=of_texts, int8_loss=int8_loss, say=say
            )
        rows = _fill(folder, checkpoint, checkpoint_folder, precisions, texts, hnsw, say, plain)
        say("opening the bundle with the runtime")
        Recommender(folder, verify="full")
        measures: dict[str, Callable[[Path, Path], Loss]] = {
            "prompt_encoder": measure_int8_loss,
            "backbone": measure_backbone_loss,
        }
        limit = INT8_LOSS if int8_loss is None else int8_loss
        for name in _quantised(precisions):
            say(f"measuring what int8 loses in the {name.replace('_', ' ')}")
            loss = measures[name](folder, plain)
            check_int8_loss(loss, limit)
            _add_to_manifest(folder, name, {"int8": loss.as_dict() | {"limit": limit}})
        if len(_quantised(precisions)) > 1:
            say("measuring what int8 loses in both together")
            both = measure_joint_loss(folder, plain)
            check_int8_loss(both, limit)
            _add_to_manifest(
                folder, "backbone", {"int8_with_prompt_encoder": both.as_dict() | {"limit": limit}}
            )
        if hnsw is not None:
            say("measuring the recall of the HNSW index")
            recall, measured_on = measure_recall(folder)
            _add_to_manifest(folder, "hnsw", {"recall": recall, "measured_on": measured_on})
    return rows


def _check_record(checkpoint: Checkpoint, folder: Path) -> None:
    missing = [key for key in _RECORD_KEYS if key not in checkpoint.training]
    if missing:
        raise CheckpointError(
            f"{folder / 'training.json'}: expected the keys {', '.join(_RECORD_KEYS)}; "
            f"missing: {', '.join(missing)}"
        )


def _check_weights(checkpoint: Checkpoint) -> None:
    """Refuse weights that are not finite, by name: a comparison of graphs would only say that NaN is not NaN."""
    for name, tensor in checkpoint.model.state_dict().items():
        bad = torch.nonzero(~torch.isfinite(tensor))
        if len(bad):
            place = tuple(bad[0].tolist())
            raise ExportError(f"{name}: expected finite weights, got {tensor[place].item()} at {list(place)}")


def _check_quantisable(checkpoint: Checkpoint) -> None:
    kind = checkpoint.model.config.backbone.kind
    if kind == "gru4rec":
        raise ExportError(
            "an int8 backbone: expected sasrec or bert4rec, got gru4rec, whose operator GRU onnxruntime has in float32 "
            "alone; export with --backbone fp32"
        )


def _quantised(precisions: dict[str, str]) -> list[str]:
    return [name for name, precision in precisions.items() if precision == "int8"]


def _fill(
    folder: Path,
    checkpoint: Checkpoint,
    checkpoint_folder: Path,
    precisions: dict[str, str],
    texts: TextEncoder | None,
    hnsw: HnswSettings | None,
    say: Callable[[str], None],
    plain: Path,
) -> list[ParityRow]:
    """Write all files; the float32 graphs of what is quantised go to the folder ``plain``."""
    say("exporting backbone, prompt encoder and fusion to ONNX")
    graphs = export_graphs(checkpoint.model, folder)
    graphs |= export_backbone_step(checkpoint.model.backbone, folder)
    quantise = {"prompt_encoder": quantize_prompt_encoder, "backbone": quantize_backbone}
    for name in _quantised(precisions):
        say(f"quantising the {name.replace('_', ' ')}")
        file = graphs[name].file
        shutil.copyfile(folder / file, plain / file)
        quantise[name](folder / file)
    say("indexing the item vectors")
    tensors = catalogue_tensors(checkpoint.model)
    write_catalogue(tensors, folder / "catalogue.safetensors")
    if hnsw is not None:
        say("building the HNSW index")
        write_hnsw(tensors["vectors"], hnsw, folder)
    pq.write_table(checkpoint.items, folder / "items.parquet")
    pq.write_table(checkpoint.examples, folder / "examples.parquet")
    shutil.copyfile(checkpoint_folder / "prompt_encoder" / "tokenizer.json", folder / "tokenizer.json")
    say("comparing with PyTorch")
    rows = validate(checkpoint, graphs, folder, tensors, quantised=_quantised(precisions))
    rows += [] if texts is None else texts.rows
    failed = [row for row in rows if not row.passed]
    if failed:
        lines = [
            f"{row.graph} {row.output}, batch {row.batch}, length {row.length}: "
            f"expected an error of at most {row.bound:g}, got {row.max_relative_error:.3g}"
            for row in failed
        ]
        raise ParityError("the exported graphs differ from PyTorch:\n" + "\n".join(lines))
    manifest = _manifest(checkpoint, checkpoint_folder, graphs, rows, precisions)
    manifest["index"] = index_sizes(checkpoint.model, tensors)
    if precisions["backbone"] != "fp32":
        manifest["backbone"] = {"precision": precisions["backbone"]}
    if hnsw is not None:
        manifest["hnsw"] = asdict(hnsw) | {
            "recall": [],
            "measured_on": {"examples": 0, "drawn": 0, "prompts": []},
        }
    if "backbone_step" in graphs:
        _to_version(6, manifest, {"state": state_width(checkpoint.model.backbone)})
    if texts is not None:
        _to_version(7, manifest, {"text": checkpoint.model.config.steering.text_dim})
        manifest["graphs"]["text_encoder"] = texts.graph.as_dict()
        manifest["limits"]["text_tokens"] = texts.max_tokens
        manifest["text_encoder"] = texts.notes
        if texts.notes["base"] != checkpoint.model.config.prompt_encoder.base:
            manifest["licence"]["weights"] += f"; text encoder: see {texts.notes['base']}"
    seal(folder, manifest)
    return rows


def _to_version(version: int, manifest: dict[str, Any], sizes: dict[str, int]) -> None:
    """Say what version 4 leaves to its number. Bundles that need none of it stay what older runtimes read."""
    dims = manifest["dims"]
    manifest["format_version"] = version
    dims |= {"trained_items": dims["items"]} | sizes
    if "hnsw" in manifest:
        manifest["hnsw"]["items"] = dims["items"]


def _add_to_manifest(folder: Path, key: str, measured: dict[str, Any]) -> None:
    """Add what was measured through the runtime, which takes a whole bundle, to an entry of its manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest[key] |= measured
    seal(folder, manifest)


def _manifest(
    checkpoint: Checkpoint,
    checkpoint_folder: Path,
    graphs: dict[str, ExportedGraph],
    rows: list[ParityRow],
    precisions: dict[str, str],
) -> dict[str, Any]:
    model, training = checkpoint.model, checkpoint.training
    config, steering = model.config, model.config.steering
    roles = model.fusion.roles
    width, hidden = fusion_widths(model)
    biases = model.expert_biases().tolist()
    names = [
        role if roles.count(role) == 1 else f"{role}-{roles[:e].count(role) + 1}"
        for e, role in enumerate(roles)
    ]
    return {
        "format": "dpr-bundle",
        "format_version": 4,
        "graphs": {name: graph.as_dict() for name, graph in graphs.items()},
        "dims": {
            "items": config.n_items,
            "tags": len(config.tags),
            "tag_words": max(1, -(-len(config.tags) // 64)),
            "user": config.backbone.dim,
            "side": steering.side_dim,
            "item": config.backbone.dim + steering.side_dim,
            "token": model.prompt_encoder.token_dim,
            "experts": len(roles),
            "fusion": width,
            "hidden": hidden,
        },
        "limits": {"history": config.backbone.max_history, "prompt_tokens": config.prompt_encoder.max_tokens},
        "tags": list(config.tags),
        "experts": [
            {"name": name, "role": role, "bias": bias}
            for name, role, bias in zip(names, roles, biases, strict=True)
        ],
        "phi": {"kind": steering.phi, "gain": steering.phi_gain},
        "wish_threshold": steering.wish_threshold,
        "prompt_encoder": {"precision": precisions["prompt_encoder"], "base": config.prompt_encoder.base},
        "parity": {"passed": True, "rows": [row.as_dict() for row in rows]},
        "made_by": {
            "dpr_infer": version("dpr-infer"),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "checkpoint_sha256": sha256(checkpoint_folder / "model.safetensors"),
            "dataset": training["dataset"],
            "data_sha256": training["data_sha256"],
        },
        "licence": {
            "data": training["licence"],
            "weights": "prompt encoder: all-MiniLM-L6-v2, Apache-2.0; the rest: as the data they were trained on"
            if config.prompt_encoder.base == "all-MiniLM-L6-v2"
            else f"prompt encoder: see {config.prompt_encoder.base}; the rest: as the data they were trained on",
            "redistributable": bool(training["redistributable"]),
        },
    }
