# Writes the golden bundles: one of every format version, of made-up items, by docs/bundle_format.md and without the
# exporter; and what each must answer, by formula.py.
#
#     python tests/golden/generate.py [FOLDER]
#
# What is committed is kept as it is: a reader must read it for ever. Write anew only what a new version adds.

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import helper
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dpr_infer._core import build_index  # noqa: E402
from golden import graphs  # noqa: E402
from golden.formula import Golden, answer  # noqa: E402

VERSIONS = (1, 2, 3, 4, 5, 6, 7)
WITH_HNSW = (2, 5)
ITEMS, ADDED, USER, SIDE, TOKEN, TEXT = 70, 9, 8, 4, 8, 2
TAGS = ["Comedy", "Drama", "Horror", "War"]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "no",
    "whatever",
    "please",
    "something",
    "and",
    *(t.lower() for t in TAGS),
]
HNSW = {"m": 4, "ef_construction": 40}
ADJECTIVES = [
    "Silent",
    "Paper",
    "Crooked",
    "Amber",
    "Last",
    "Hollow",
    "Borrowed",
    "Northern",
    "Patient",
    "Glass",
]
NOUNS = ["Harbour", "Orchard", "Engine", "Parade", "Ledger", "Winter", "Kite"]


def golden(version: int) -> Golden:
    """Everything that the bundle of a version is made of. From version 5 on there are items that were added."""
    rng = np.random.default_rng(version)
    items = ITEMS + (ADDED if version >= 5 else 0)
    collaborative = _eighths(rng, (items, USER))
    collaborative[ITEMS:] = 0  # added by their tags alone
    # What a text encoder knows stands before the tags.
    read = [noun.lower() for noun in NOUNS] if version >= 7 else []
    vocabulary = [*VOCABULARY[: -len(TAGS)], *read, *VOCABULARY[-len(TAGS) :]]
    words = np.zeros((len(vocabulary), TOKEN), np.float32)
    words[:, 4:] = _eighths(rng, (len(vocabulary), TOKEN - 4)) * 2
    embeddings = np.eye(len(TAGS), TOKEN, dtype=np.float32)
    words[-len(TAGS) :, :4] = embeddings[:, :4]
    texts: dict[str, Any] = {}
    if version >= 7:
        texts["text_words"] = _eighths(rng, (len(vocabulary), TEXT))
        texts["texts"] = tuple(f"Of a {NOUNS[row % 7]} and a {NOUNS[row % 5]}" for row in range(items))
        texts["text_limit"] = 9
    return Golden(
        version=version,
        ids=[f"g{version}-{100 + 3 * row}" for row in range(items)],
        titles=[f"The {ADJECTIVES[row % 10]} {NOUNS[row // 10 % 7]} {row // 70 + 1}" for row in range(items)],
        tags=[sorted(rng.choice(TAGS, row % 4, replace=False).tolist()) for row in range(items)],
        collaborative=collaborative,
        start=_eighths(rng, (USER,)),
        trained=ITEMS,
        tag_names=TAGS,
        tag_vectors=_tag_vectors(version),
        tag_embeddings=embeddings,
        vocabulary=vocabulary,
        words=words,
        nudge=_eighths(rng, (TOKEN, USER)),
        bias=-0.5,
        history_limit=10,
        prompt_limit=12,
        **texts,
    )


def _tag_vectors(version: int) -> np.ndarray:
    vectors = np.eye(len(TAGS), SIDE, dtype=np.float32) * 2 - 0.5
    return np.pad(vectors, ((0, 0), (0, TEXT))) if version >= 7 else vectors


def queries(ids: list[str]) -> list[dict[str, Any]]:
    """What each bundle is asked."""
    histories = [[], ids[3:6], [ids[0], ids[-1], ids[0]], ids[10:25], [ids[-1]]]
    prompts: list[Any] = [
        None,
        "something comedy please",
        "no war",
        "drama, no comedy and no horror",
        ["something war and drama", "no horror"],
        ["comedy and war please", "whatever war"],
        "something unheard of",
    ]
    options = [{}, {"where": "comedy & !war"}, {"steer": "strict"}, {"strength": 0.5}, {"strength": 0.0}]
    asked = [{"history": history, "prompt": prompt, "k": 10} for history in histories for prompt in prompts]
    more = [
        {"history": histories[1], "prompt": prompt, "k": 5} | option
        for prompt in prompts
        for option in options
    ]
    return [*asked, *more, {"history": histories[3], "prompt": prompts[3], "k": len(ids) + 5}]


def write(folder: Path, made: Golden) -> None:
    """Write a bundle into a new folder."""
    folder.mkdir(parents=True)
    arrays = _arrays(made)
    save_file(arrays, folder / "catalogue.safetensors")
    _write_tables(folder, made)
    _write_tokenizer(folder / "tokenizer.json", made)
    protos = _graphs(made)
    for name, graph in protos.items():
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", graphs.OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    manifest = _manifest(made, protos) | _index_entries(made, arrays)
    if made.version in WITH_HNSW:
        _write_hnsw(folder / "index.hnsw", arrays["vectors"][: made.trained])
        manifest["hnsw"] = HNSW | {
            "recall": [{"k": 10, "ef": 100, "queries": "plain", "recall": 1.0}],
            "measured_on": {"examples": 2, "drawn": 0, "prompts": []},
        }
        if made.version >= 5:
            manifest["hnsw"]["items"] = made.trained
    _seal(folder, manifest)


def _eighths(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.integers(-16, 17, shape) / 8).astype(np.float32)


def _arrays(made: Golden) -> dict[str, np.ndarray]:
    bits = np.zeros((len(made.ids), 1), np.uint64)
    for row, tags in enumerate(made.tags):
        for tag in tags:
            bits[row, 0] |= np.uint64(1 << made.tag_names.index(tag))
    arrays = {
        "vectors": made.vectors,
        "tag_bits": bits,
        "tag_embeddings": made.tag_embeddings,
        "tag_vectors": made.tag_vectors,
    }
    if made.version >= 2:
        index = build_index(arrays["vectors"], parts=[USER, made.tag_vectors.shape[1]])
        arrays |= {f"index.{name}": array for name, array in index.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _graphs(made: Golden) -> dict[str, onnx.GraphProto]:
    roles = np.zeros((len(made.vocabulary), 2), np.float32)
    roles[made.vocabulary.index("no"), 0] = roles[made.vocabulary.index("whatever"), 1] = 1
    protos = {
        "backbone": graphs.backbone(made.collaborative[: made.trained], made.start),
        "prompt_encoder": graphs.prompt_encoder(made.words, roles, released=made.version >= 3),
    }
    if made.version >= 6:
        protos["backbone_step"] = graphs.backbone_step(made.collaborative[: made.trained], made.start)
    side = made.tag_vectors.shape[1]
    if made.version >= 4:
        protos["prompt_fusion"], protos["fusion_moe"] = graphs.split_fusion(made.nudge, side)
    else:
        protos["fusion_moe"] = graphs.fusion(made.nudge, side)
    if made.text_words is not None:
        protos["text_encoder"] = graphs.text_encoder(made.text_words)
    return protos


def _manifest(made: Golden, protos: dict[str, onnx.GraphProto]) -> dict[str, Any]:
    dims = {
        "items": len(made.ids),
        "tags": len(TAGS),
        "tag_words": 1,
        "user": USER,
        "side": made.tag_vectors.shape[1],
        "item": USER + made.tag_vectors.shape[1],
        "token": TOKEN,
        "experts": 2,
    }
    if made.version >= 4:
        dims |= {"fusion": USER, "hidden": 1}
    if made.version >= 5:
        dims["trained_items"] = made.trained
    if made.version >= 6:
        dims["state"] = USER + 2
    limits, notes = {"history": made.history_limit, "prompt_tokens": made.prompt_limit}, {}
    if made.text_words is not None:
        dims["text"], limits["text_tokens"] = TEXT, made.text_limit
        notes["text_encoder"] = {"base": "made by hand", "precision": "fp32"}
    return notes | {
        "format": "dpr-bundle",
        "format_version": made.version,
        "graphs": {
            name: {
                "file": f"{name}.onnx",
                "opset": graphs.OPSET,
                "inputs": [_port(value) for value in graph.input],
                "outputs": [_port(value) for value in graph.output],
            }
            for name, graph in protos.items()
        },
        "dims": dims,
        "limits": limits,
        "tags": TAGS,
        "experts": [
            {"name": "toward", "role": "toward", "bias": 0.0},
            {"name": "away", "role": "away", "bias": made.bias},
        ],
        "phi": {"kind": "relu", "gain": 1.0},
        "wish_threshold": 0.5,
        "prompt_encoder": {"precision": "fp32", "base": "made by hand"},
        "parity": {"passed": True, "rows": []},
        "made_by": {"generator": "tests/golden/generate.py", "dataset": f"golden-{made.version}"},
        "licence": {"data": "made up; Apache-2.0", "weights": "made up; Apache-2.0", "redistributable": True},
    }


def _port(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    dtype = {graphs.I64: "int64", graphs.F32: "float32"}[kind.elem_type]
    return {"name": value.name, "dtype": dtype, "shape": [d.dim_param or d.dim_value for d in kind.shape.dim]}


def _index_entries(made: Golden, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if made.version == 1:
        return {}
    return {
        "index": {
            "blocks": len(arrays["index.codes"]),
            "clusters": len(arrays["index.centres"]),
            "parts": [USER, made.tag_vectors.shape[1]],
            "code_error": arrays["index.bounds"][:, 1].max(axis=1).astype(float).tolist(),
        }
    }


def _write_tables(folder: Path, made: Golden) -> None:
    strings = pa.list_(pa.string())
    items = {"item_id": made.ids, "title": made.titles, "tags": pa.array(made.tags, strings)}
    items |= {"text": list(made.texts)} if made.texts else {}
    pq.write_table(pa.table(items), folder / "items.parquet")
    histories = pa.array([made.ids[2:7], made.ids[30:33]], strings)
    pq.write_table(pa.table({"name": ["first", "second"], "history": histories}), folder / "examples.parquet")


def _write_tokenizer(path: Path, made: Golden) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {word: i for i, word in enumerate(made.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(",", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", special_tokens=[("[CLS]", numbers["[CLS]"])]
    )
    tokenizer.save(str(path))


def _write_hnsw(path: Path, vectors: np.ndarray) -> None:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=HNSW["m"], ef_construction=HNSW["ef_construction"], random_seed=1)
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    index.save_index(str(path))


def _seal(folder: Path, manifest: dict[str, Any]) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        files[path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    text = json.dumps(manifest | {"files": files}, indent=1, ensure_ascii=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")


def main(base: Path) -> None:
    """Write what is not there yet."""
    for version in VERSIONS:
        made = golden(version)
        folder, expected = base / f"v{version}", base / f"v{version}.expected.json"
        if not folder.exists():
            write(folder, made)
        if not expected.exists():
            asked = [{"query": query, "answer": answer(made, query)} for query in queries(made.ids)]
            expected.write_text(
                json.dumps(asked, ensure_ascii=False).replace('{"query"', '\n{"query"') + "\n"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
