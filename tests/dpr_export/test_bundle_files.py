# The files of a bundle against docs/bundle_format.md and against the checkpoint they were made of.

from __future__ import annotations

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from dpr_infer.bundle import open_bundle

FORMAT = Path(__file__).parents[2] / "docs" / "bundle_format.md"


def manifest_of(made) -> dict:
    return json.loads((made.bundle / "manifest.json").read_text(encoding="utf-8"))


def has_steps(made) -> bool:
    """Whether the bundle has a graph backbone_step, and with it all that version 6 adds."""
    return made.checkpoint.model.config.backbone.kind == "gru4rec"


def documented() -> dict:
    """The example manifest of the format's description, but for the text encoder of test_text_encoder.py."""
    (block,) = re.findall(r"```json\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    manifest = json.loads(block)
    del manifest["dims"]["text"], manifest["limits"]["text_tokens"], manifest["text_encoder"]
    return manifest


def missing(expected: object, got: object, place: str = "manifest") -> list[str]:
    """Places where ``got`` lacks a key of ``expected``, or holds another kind of value; of a list, the first entry."""
    if isinstance(expected, dict) and isinstance(got, dict):
        lacking = [f"{place}.{key}" for key in expected if key not in got]
        return lacking + [
            m for key in expected if key in got for m in missing(expected[key], got[key], f"{place}.{key}")
        ]
    if isinstance(expected, list) and isinstance(got, list):
        return missing(expected[0], got[0], f"{place}[0]") if expected and got else []
    number = (int, float)
    same = isinstance(got, type(expected)) or (isinstance(got, number) and isinstance(expected, number))
    return [] if same else [f"{place}: expected {type(expected).__name__}, got {got!r}"]


def test_the_comparison_with_the_document_finds_what_is_missing():
    assert missing({"a": 1, "b": [{"c": ""}]}, {"b": [{}]}) == ["manifest.a", "manifest.b[0].c"]
    assert missing({"a": 1.5, "b": "x"}, {"a": 2, "b": 3}) == ["manifest.b: expected str, got 3"]


def test_the_manifest_has_every_documented_key(made):
    expected = documented()
    del expected["parity"]["rows"]  # the next test's
    del expected["hnsw"]  # not in these bundles
    if not has_steps(made):
        del expected["dims"]["trained_items"], expected["dims"]["state"]
    assert missing(expected, manifest_of(made)) == []
    assert manifest_of(made).keys() == expected.keys()


def test_the_manifest_has_every_documented_key_of_hnsw(with_hnsw):
    manifest = json.loads((with_hnsw / "manifest.json").read_text(encoding="utf-8"))
    expected = documented()
    assert manifest.keys() == expected.keys()
    entry, expected = manifest["hnsw"], expected["hnsw"]
    del expected["items"]  # only where items were added
    assert missing(expected, entry) == []
    assert entry.keys() == expected.keys()
    assert {frozenset(row) for row in entry["recall"]} == {frozenset(expected["recall"][0])}
    assert entry["measured_on"].keys() == expected["measured_on"].keys()


def test_parity_rows_say_what_was_compared_at_which_sizes(made):
    parity = manifest_of(made)["parity"]
    assert parity["passed"] is True
    assert parity["rows"] == [row.as_dict() for row in made.rows]
    keys = {"graph", "output", "batch", "length", "max_relative_error", "bound"}
    assert {frozenset(row) for row in parity["rows"]} == {frozenset(keys)}
    compared = {(row.graph, row.output) for row in made.rows}
    steps = {("backbone_step", "user"), ("backbone_step", "next_state")} if has_steps(made) else set()
    assert compared == steps | {
        ("backbone", "user"),
        ("prompt_encoder", "tokens"),
        ("prompt_encoder", "wish"),
        ("prompt_encoder", "released"),
        ("fusion_moe", "experts"),
        ("fusion_moe", "gates"),
        ("pipeline", "top-10"),
    }
    assert all(0 <= row.max_relative_error <= row.bound for row in made.rows)
    for graph in ("backbone", "prompt_encoder", "fusion_moe"):
        sizes = {(row.batch, row.length) for row in made.rows if row.graph == graph}
        assert len(sizes) >= 2, "one size would not show a frozen dimension"


def test_files_are_listed_with_size_and_checksum(made):
    files = manifest_of(made)["files"]
    assert files.keys() == {path.name for path in made.bundle.iterdir()} - {"manifest.json"}
    for name, entry in files.items():
        content = (made.bundle / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}, name


def test_sizes_are_the_models(made):
    model = made.checkpoint.model
    config, steering = model.config, model.config.steering
    tags = len(config.tags)
    steps = {"trained_items": len(made.checkpoint.items), "state": config.backbone.hidden}
    assert manifest_of(made)["dims"] == (steps if has_steps(made) else {}) | {
        "items": len(made.checkpoint.items),
        "tags": tags,
        "tag_words": (tags + 63) // 64,
        "user": config.backbone.dim,
        "side": steering.side_dim,
        "item": config.backbone.dim + steering.side_dim,
        "token": model.prompt_encoder.token_dim,
        "experts": len(steering.experts),
        "fusion": steering.fusion_dim,
        "hidden": 2 * steering.fusion_dim,
    }
    assert manifest_of(made)["tags"] == list(config.tags)
    assert manifest_of(made)["wish_threshold"] == steering.wish_threshold


def test_it_says_how_it_was_made_and_what_may_be_done_with_it(made):
    manifest, training = manifest_of(made), made.checkpoint.training
    weights = (made.folder / "model.safetensors").read_bytes()
    assert manifest["made_by"]["checkpoint_sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["made_by"]["torch"] == torch.__version__
    assert manifest["made_by"]["dpr_infer"] == version("dpr-infer")
    assert manifest["made_by"]["data_sha256"] == training["data_sha256"]
    assert manifest["licence"]["data"] == training["licence"]
    assert manifest["licence"]["redistributable"] is training["redistributable"]
    assert "random" in manifest["licence"]["weights"]  # the encoder that the tiny models start from


def test_the_catalogue_holds_the_models_tensors(made):
    model = made.checkpoint.model
    tensors = load_file(made.bundle / "catalogue.safetensors")
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("index.")}
    assert {name: str(tensor.dtype) for name, tensor in own.items()} == {
        "vectors": "float32",
        "tag_bits": "uint64",
        "tag_embeddings": "float32",
        "tag_vectors": "float32",
    }
    side = np.zeros((len(made.checkpoint.items), model.config.steering.side_dim), dtype=np.float64)
    names = made.checkpoint.items["tags"].to_pylist()
    tag_vectors = model.tag_vectors.detach().numpy()
    for row, tags in enumerate(names):
        for tag in tags:
            side[row] += tag_vectors[model.config.tags.index(tag)]
    item_embedding = model.backbone.item_embedding.weight.detach().numpy()[1:]
    side[:, model.config.steering.tag_dim :] = model.text_vectors.numpy()
    np.testing.assert_array_equal(tensors["vectors"][:, : model.config.backbone.dim], item_embedding)
    np.testing.assert_allclose(tensors["vectors"][:, model.config.backbone.dim :], side, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(tensors["tag_vectors"], tag_vectors)
    np.testing.assert_array_equal(tensors["tag_embeddings"], model.tag_embeddings.numpy())
    bits = [
        {tag for g, tag in enumerate(model.config.tags) if int(words[g // 64]) >> g % 64 & 1}
        for words in tensors["tag_bits"]
    ]
    assert bits == [set(tags) for tags in names]


def test_tables_are_the_checkpoints(made):
    for name in ("items", "examples"):
        written = pq.read_table(made.bundle / f"{name}.parquet")
        assert written.equals(pq.read_table(made.folder / f"{name}.parquet")), name
    assert len(made.recommender.examples) == len(made.checkpoint.examples) > 0


def test_attributes_of_items_come_along(wide):
    assert pq.read_table(wide.bundle / "items.parquet")["year"].to_pylist() == list(range(130))


def test_it_opens_with_every_byte_checked(made):
    bundle = open_bundle(made.bundle, verify="full")
    assert bundle.manifest.dims.items == len(bundle.items) == made.checkpoint.model.config.n_items


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json"])
def test_texts_are_utf8_json(made, name):
    json.loads((made.bundle / name).read_bytes().decode("utf-8"))
