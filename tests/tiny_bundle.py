# Writes a small but whole bundle by hand, of any size and format version, whose prompts steer: "comedy" asks,
# "no comedy" refuses, "whatever comedy" takes either back. It owes nothing to dpr_export, so that what the
# runtime reads is tested against the format and not against a writer.

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import helper
from safetensors.numpy import save_file

from dpr_infer._core import build_index
from tiny_graphs import (
    F32,
    I64,
    NEGATORS,
    OPSET,
    RELEASERS,
    backbone_graph,
    backbone_step_graph,
    fusion_graph,
    prompt_encoder_graph,
    prompt_fusion_graph,
    text_encoder_graph,
    user_fusion_graph,
)

HNSW_M, HNSW_EF_CONSTRUCTION = 2, 8
GENRES = (
    "Action",
    "Comedy",
    "Drama",
    "War",
    "Sci-Fi",
    "Children's",
    "Film-Noir",
    "Western",
    "Musical",
    "Romance",
)


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """Sizes of a tiny bundle."""

    items: int = 40
    tags: int = 6
    user: int = 8
    side: int = 8
    token: int = 16
    experts: int = 2
    phi: str = "relu"
    gain: float = 1.0
    history_limit: int = 10
    prompt_limit: int = 12
    wish_threshold: float = 0.5
    examples: int = 3
    seed: int = 0
    version: int = 4
    hnsw: bool = False
    text: int = 3  # of the side, from version 7 on

    @property
    def parts(self) -> list[int]:
        """Widths that the index quantises apart."""
        return [self.user, self.side] if self.side else [self.user]


def tag_names(count: int) -> list[str]:
    return [GENRES[g] if g < len(GENRES) else f"Tag{g}" for g in range(count)]


def item_ids(count: int) -> list[str]:
    """Ids that are no row numbers, so that taking one for the other shows."""
    return [f"i{100 + 7 * row}" for row in range(count)]


def tags_of(config: TinyConfig) -> list[list[int]]:
    """Each item's tags: none to three of them, every seventh item without one."""
    rng = np.random.default_rng(config.seed + 1)
    chosen = []
    for row in range(config.items):
        count = 0 if row % 7 == 6 else int(rng.integers(1, 4))
        chosen.append(sorted(rng.choice(config.tags, min(count, config.tags), replace=False).tolist()))
    return chosen


def write_tiny_bundle(folder: Path, config: TinyConfig | None = None, **sizes: Any) -> Path:
    """Write a bundle into a new folder; sizes are TinyConfig's fields."""
    config = config or TinyConfig(**sizes)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(config.seed)
    tag_embeddings = _unit(rng, config.tags, config.token)
    tag_vectors = _unit(rng, config.tags, config.side)
    collaborative = rng.standard_normal((config.items, config.user)).astype(np.float32)
    tags = tags_of(config)
    arrays = _catalogue_arrays(config, collaborative, tags, tag_embeddings, tag_vectors)
    save_file(arrays, folder / "catalogue.safetensors")
    if config.hnsw:
        write_tiny_hnsw(folder / "index.hnsw", arrays["vectors"])
    _write_tables(folder, config, tags)
    words = _write_tokenizer(folder, config)
    token_table = _token_table(rng, config, words, tag_embeddings)
    start = rng.standard_normal((1, config.user)).astype(np.float32)
    graphs = {
        "backbone": backbone_graph(config, collaborative, start),
        "prompt_encoder": prompt_encoder_graph(config, token_table, words),
    }
    if config.version >= 6:
        graphs["backbone_step"] = backbone_step_graph(config, collaborative, start)
    if config.version >= 7:
        graphs["text_encoder"] = text_encoder_graph(config, len(words))
    if config.version >= 4:
        graphs["prompt_fusion"] = prompt_fusion_graph(config, rng)
        graphs["fusion_moe"] = user_fusion_graph(config)
    else:
        graphs["fusion_moe"] = fusion_graph(config, rng)
    for name, graph in graphs.items():
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    seal(folder, tiny_manifest(config, graphs) | _index_entries(config, arrays))
    return folder


def write_tiny_hnsw(path: Path, vectors: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Write an HNSW index of few links: at 40 items, already, it misses some."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=HNSW_M, ef_construction=HNSW_EF_CONSTRUCTION, random_seed=1)
    index.add_items(vectors, np.arange(len(vectors)) if labels is None else labels, num_threads=1)
    index.save_index(str(path))


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest with the sizes and checksums of the files as they are now."""
    files = {}
    for path in sorted(folder.iterdir()):
        if path.name != "manifest.json":
            content = path.read_bytes()
            files[path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"] = files
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest in place, leaving checksums alone."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    edit(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def reseal(folder: Path) -> None:
    """Bring sizes and checksums of the manifest up to date with the files."""
    seal(folder, json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def tiny_manifest(config: TinyConfig, graphs: dict[str, onnx.GraphProto]) -> dict[str, Any]:
    roles = ["toward" if e % 2 == 0 else "away" for e in range(config.experts)]
    return {
        "format": "dpr-bundle",
        "format_version": config.version,
        "graphs": {
            name: {
                "file": f"{name}.onnx",
                "opset": OPSET,
                "inputs": [_port(value) for value in graph.input],
                "outputs": [_port(value) for value in graph.output],
            }
            for name, graph in graphs.items()
        },
        "dims": {
            "items": config.items,
            "tags": config.tags,
            "tag_words": max(1, -(-config.tags // 64)),
            "user": config.user,
            "side": config.side,
            "item": config.user + config.side,
            "token": config.token,
            "experts": config.experts,
            "fusion": config.user,
            "hidden": 1,
        }
        | ({"trained_items": config.items, "state": config.user + 1} if config.version >= 6 else {})
        | ({"text": config.text} if config.version >= 7 else {}),
        "limits": {
            "history": config.history_limit,
            "prompt_tokens": config.prompt_limit,
            **({"text_tokens": config.prompt_limit} if config.version >= 7 else {}),
        },
        "tags": tag_names(config.tags),
        "experts": [
            {"name": f"{role}{e}", "role": role, "bias": 0.0 if role == "toward" else -0.125}
            for e, role in enumerate(roles)
        ],
        "phi": {"kind": config.phi, "gain": config.gain},
        "wish_threshold": config.wish_threshold,
        "prompt_encoder": {"precision": "fp32", "base": "hand-made words"},
        **({"text_encoder": {"precision": "fp32", "base": "hand-made words"}} if config.version >= 7 else {}),
        "parity": {
            "passed": True,
            "rows": [{"graph": "backbone", "batch": 1, "length": 7, "max_abs_error": 1e-6, "bound": 1e-4}],
        },
        "made_by": {"generator": "tests/tiny_bundle.py"},
        "licence": {"data": "made up", "weights": "made up", "redistributable": True},
    }


def _port(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    return {
        "name": value.name,
        "dtype": {F32: "float32", I64: "int64"}[kind.elem_type],
        "shape": [d.dim_param or d.dim_value for d in kind.shape.dim],
    }


def _unit(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Unit vectors, orthogonal where there is room."""
    raw = rng.standard_normal((width, width)).astype(np.float64)
    basis = np.linalg.qr(raw)[0][: min(count, width)]
    more = rng.standard_normal((max(0, count - width), width))
    vectors = np.concatenate([basis, more])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _token_table(
    rng: np.random.Generator, config: TinyConfig, words: dict[str, int], tag_embeddings: np.ndarray
) -> np.ndarray:
    table = 0.3 * _unit(rng, len(words), config.token)  # short: no other word comes near a tag
    for name, embedding in zip(tag_names(config.tags), tag_embeddings, strict=True):
        table[words[name.lower()]] = embedding
    return table.astype(np.float32)


def _write_tokenizer(folder: Path, config: TinyConfig) -> dict[str, int]:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    plain = ["[PAD]", "[UNK]", "[CLS]", *NEGATORS, *RELEASERS, "film", "please", "something", "and"]
    words = {word: i for i, word in enumerate([*plain, *(name.lower() for name in tag_names(config.tags))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(",", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", words["[CLS]"])]
    )
    # Real tokenizer files come with padding and truncation set; the runtime must not be led astray by them.
    tokenizer.enable_padding(length=30)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(folder / "tokenizer.json"))
    return words


def _catalogue_arrays(
    config: TinyConfig,
    collaborative: np.ndarray,
    tags: list[list[int]],
    tag_embeddings: np.ndarray,
    tag_vectors: np.ndarray,
) -> dict[str, np.ndarray]:
    side = np.zeros((config.items, config.side), np.float32)
    bits = np.zeros((config.items, max(1, -(-config.tags // 64))), np.uint64)
    for row, chosen in enumerate(tags):
        for g in chosen:
            side[row] += tag_vectors[g]
            bits[row, g // 64] |= np.uint64(1 << g % 64)
    arrays = {
        "vectors": np.concatenate([collaborative, side], axis=1),
        "tag_bits": bits,
        "tag_embeddings": tag_embeddings,
        "tag_vectors": tag_vectors,
    }
    if config.version > 1:
        index = build_index(arrays["vectors"], parts=config.parts)
        arrays |= {f"index.{name}": array for name, array in index.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _index_entries(config: TinyConfig, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the manifest says of the indexes, none of it before version 2."""
    if config.version == 1:
        return {}
    entries: dict[str, Any] = {
        "index": {
            "blocks": len(arrays["index.codes"]),
            "clusters": len(arrays["index.centres"]),
            "parts": config.parts,
            "code_error": arrays["index.bounds"][:, 1].max(axis=1).astype(float).tolist(),
        }
    }
    if config.hnsw:
        entries["hnsw"] = {
            "m": HNSW_M,
            "ef_construction": HNSW_EF_CONSTRUCTION,
            "recall": [{"k": 10, "ef": 32, "queries": "plain", "recall": 0.875}],
            "measured_on": {"examples": 3, "drawn": 0, "prompts": ["no war"]},
        }
        if config.version >= 6:
            entries["hnsw"]["items"] = config.items
    return entries


def _write_tables(folder: Path, config: TinyConfig, tags: list[list[int]]) -> None:
    names = tag_names(config.tags)
    ids = item_ids(config.items)
    items = {
        "item_id": ids,
        "title": [f"Film {row} ({1950 + row % 70})" for row in range(config.items)],
        "tags": pa.array([[names[g] for g in chosen] for chosen in tags], pa.list_(pa.string())),
        "year": [1950 + row % 70 for row in range(config.items)],
    }
    pq.write_table(pa.table(items), folder / "items.parquet")
    histories = [ids[e : e + 5 + e] for e in range(config.examples)]
    examples = {
        "name": pa.array([f"user {e}" for e in range(config.examples)], pa.string()),
        "history": pa.array(histories, pa.list_(pa.string())),
    }
    pq.write_table(pa.table(examples), folder / "examples.parquet")
