# Bundles that are damaged, forged or absurd: every one is refused by a clear error, none crashes.

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

import tiny_bundle
from dpr_infer import BundleError, BundleVersionError, Recommender

SMALL = 2**20
# Sizes that each may be, and that together would be half a gigabyte a query.
WIDE = {
    "items": 40,
    "tags": 6,
    "tag_words": 1,
    "user": 65_536,
    "side": 8,
    "item": 65_544,
    "token": 16,
    "experts": 1_024,
    "fusion": 8,
    "hidden": 1,
}


def refused(folder: Path, message: str, error: type[Exception] = BundleError) -> None:
    with pytest.raises(error, match=message):
        Recommender(folder)


def at(*path):
    """Return an edit that sets the last of a path of keys."""

    def edit(manifest, *, value):
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "zip", "format must be one of 'dpr-bundle'; got 'zip'"),
        (["files"], [], "files must be an object"),
        (["files", "backbone.onnx", "bytes"], -1, "bytes must be an integer from 0"),
        (["files", "backbone.onnx", "sha256"], "A" * 64, "64 lower-case hexadecimal"),
        (["files", "backbone.onnx", "sha256"], "0" * 64, "backbone.onnx must have the SHA-256 0000"),
        (["files", "backbone.onnx", "bytes"], 5, "backbone.onnx must have 5 bytes; got"),
        (["dims", "items"], 41, "catalogue.safetensors: vectors must be F32 .41, 16."),
        (["dims", "items"], 0, "items must be an integer from 1"),
        (["dims", "items"], 10**12, "items must be an integer from 1"),
        (["dims", "items"], 40.0, "items must be an integer"),
        (["dims", "items"], True, "items must be an integer"),
        (["dims", "item"], 17, "item must be user . side = 16; got 17"),
        (["dims", "tag_words"], 2, "tag_words must be ceil.tags / 64. = 1; got 2"),
        (["dims", "tags"], 5, "dims.tags = 5 different names; got 6"),
        (["dims", "token"], 17, "must be float32 .* got float32"),
        (["dims", "experts"], 3, "dims.experts = 3 experts"),
        (["dims", "user"], None, "user must be an integer"),
        (
            ["dims"],
            WIDE,
            "experts must be so few that experts . item and experts . hidden are at most 4194304",
        ),
        (["dims"], WIDE | {"user": 8, "item": 16, "hidden": 65_536}, "experts must be so few that"),
        (["dims"], 3, "dims must be an object"),
        (["tags"], ["a"] * 6, "6 different names; got 6, 1 different"),
        (["tags", 0], "", "not empty"),
        (["tags", 0], 3, r"tags\[0\] must be a string"),
        (["tags", 0], "Horror", "tag_bits of row"),
        (["experts", 0, "role"], "up", "'toward', 'away'; got 'up'"),
        (["experts", 0, "bias"], 0.5, "bias must be a finite number from -0.0 to 0.0"),
        (["experts", 1, "bias"], 1e39, "bias must be a finite number"),
        (["experts", 1, "name"], "toward0", "with 1 names"),
        (["phi", "kind"], "gelu", "'relu', 'softplus'; got 'gelu'"),
        (["phi", "gain"], 0, "gain must be a finite number"),
        (["wish_threshold"], "0.5", "wish_threshold must be a number"),
        (["wish_threshold"], 0, "wish_threshold must be a finite"),
        (["prompt_encoder", "precision"], "fp4", "'fp32', 'int8'"),
        (["limits", "history"], 0, "history must be an integer from 1"),
        (["limits", "prompt_tokens"], 2**40, "prompt_tokens must be an integer from 1"),
        (["parity", "passed"], False, "passed must be true"),
        (["parity", "rows"], [3], r"rows\[0\] must be an object"),
        (["licence", "redistributable"], 1, "must be true or false"),
        (["graphs", "backbone", "file"], "../backbone.onnx", "a file that the manifest lists"),
        (["graphs", "backbone", "file"], "fusion_moe.onnx", "fusion_moe.onnx: inputs must be items"),
        (["graphs", "backbone", "inputs", 0, "name"], "rows", "inputs must be items; got rows"),
        (["graphs", "backbone", "inputs", 0, "dtype"], "int32", "items must be int64 .B, L.; got int32"),
        (
            ["graphs", "backbone", "inputs", 0, "shape"],
            ["B", 10],
            "items must be int64 .B, L.; got int64 .B, 10",
        ),
        (["graphs", "backbone", "inputs", 0, "shape"], ["B", "B"], "'B' must mean one size"),
        (["graphs", "backbone", "outputs", 0, "shape"], ["B", "D"], "user must be float32 .B, 8."),
        (["graphs", "extra"], {}, "exactly the keys backbone"),
    ],
)
def test_wrong_manifest_values(copy, path, value, message):
    tiny_bundle.edit_manifest(copy, lambda manifest: at(*path)(manifest, value=value))
    refused(copy, message)


@pytest.mark.parametrize("version", [0, 8, 99])
def test_unknown_version(copy, version):
    tiny_bundle.edit_manifest(copy, lambda m: m.update(format_version=version))
    refused(
        copy,
        f"format_version must be 1, 2, 3, 4, 5, 6 or 7, the ones this dpr-infer reads; got {version}",
        BundleVersionError,
    )


def test_every_key_of_the_manifest_is_needed(copy):
    original = json.loads((copy / "manifest.json").read_text())
    for key in original:
        tiny_bundle.edit_manifest(copy, lambda m, key=key: m.pop(key))
        refused(copy, f"must have the key '{key}'")
        (copy / "manifest.json").write_text(json.dumps(original))
    Recommender(copy)


def test_a_backbone_without_a_word_is_float32(copy):
    assert Recommender(copy).manifest.backbone_precision == "fp32"
    tiny_bundle.edit_manifest(
        copy, lambda m: m.update(backbone={"precision": "int8", "int8": {"overlap": 1}})
    )
    assert Recommender(copy).manifest.backbone_precision == "int8"
    tiny_bundle.edit_manifest(copy, lambda m: m.update(backbone={"precision": "fp4"}))
    refused(copy, "'fp32', 'int8'")


def test_unknown_keys_are_ignored(copy):
    tiny_bundle.edit_manifest(copy, lambda m: m.update(note="later writers may add"))
    Recommender(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "UTF-8 JSON"),
        (b"[]", "must be an object"),
        (b"{", "UTF-8 JSON"),
        (b"\xff\xfe{}", "UTF-8 JSON"),
        (b'{"format": NaN}', "NaN is not a JSON number"),
        (b'{"format": -Infinity}', "-Infinity"),
        (b'{"a": 1, "a": 2}', "key 'a' appears twice"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deeply"),
        (b'{"format_version": ' + b"9" * 5_000 + b"}", "UTF-8 JSON"),
        (b'{"format": "dpr-bundle", "format_version": 1e400}', "1e400 is larger than any number"),
        (b'{"format": "dpr-bundle", "note": ' + b"[" * 64 + b"]" * 64 + b"}", "nests too deeply"),
        (b'{"format": ' + b'{"a":' * 900 + b"1" + b"}" * 901, "nests too deeply"),
        (b'{"format": "dpr-bundle", "note": [' + b"{}," * 5_000_000 + b"{}]}", "at most 1000000 values"),
        (b'{"format": "dpr-bundle", "note": "\\ud83d"}', "lone surrogate"),
        (b'{"format": "dpr-bundle", "\\udc00": 1}', "lone surrogate"),
    ],
)
def test_manifest_that_is_no_manifest(copy, text, message):
    (copy / "manifest.json").write_bytes(text)
    refused(copy, message)


def test_huge_manifest_is_not_read(copy):
    with (copy / "manifest.json").open("r+b") as file:
        file.truncate(16 * 2**20 + 1)
    refused(copy, "manifest.json must have at most 16777216 bytes")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "a/b", "a\\b", "..", ".", "", "c:x", "a\nb", "x" * 256, "manifest.json"],
)
def test_file_names_must_be_plain(copy, name):
    tiny_bundle.edit_manifest(copy, lambda m: m["files"].update({name: {"bytes": 0, "sha256": "0" * 64}}))
    refused(copy, "must be the plain name of a file")


def test_folder_must_hold_just_what_is_listed(copy, tmp_path):
    refused(tmp_path / "nowhere", "must be a folder")
    refused(copy / "manifest.json", "must be a folder")
    (copy / "notes.txt").write_text("x")
    refused(copy, "notes.txt must not be in the bundle")
    (copy / "notes.txt").unlink()
    (copy / "examples.parquet").rename(tmp_path / "examples.parquet")
    refused(copy, "examples.parquet must be in the bundle.* missing")
    (copy / "examples.parquet").symlink_to(tmp_path / "examples.parquet")
    refused(copy, "examples.parquet must be a regular file")
    (copy / "examples.parquet").unlink()
    (copy / "examples.parquet").mkdir()
    refused(copy, "examples.parquet must be a regular file")
    (copy / "examples.parquet").rmdir()
    os.mkfifo(copy / "examples.parquet")  # opening one would block for ever
    refused(copy, "examples.parquet must be a regular file")
    (copy / "manifest.json").unlink()
    refused(copy, "manifest.json must be in the bundle")


def test_built_engines_lie_in_the_bundle_and_nowhere_else(copy, tmp_path):
    folder = copy / "engines" / "onnxruntime-1.0"
    folder.mkdir(parents=True)
    (folder / "cache.engine").write_bytes(b"x")
    Recommender(copy)
    (tmp_path / "outside").mkdir()
    for link in (copy / "engines" / "onnxruntime-2.0", folder / "other.engine"):
        link.symlink_to(tmp_path / "outside")
        refused(copy, rf"{link.relative_to(copy)} must be a regular file or a folder")
        link.unlink()
    os.mkfifo(folder / "pipe")
    refused(copy, "engines/onnxruntime-1.0/pipe must be a regular file or a folder")


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "examples.parquet", "backbone.onnx", "catalogue.safetensors"]
)
@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_truncated_files_even_when_resealed(copy, name, keep):
    path = copy / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep != 0.5 else len(content) / 2)])
    refused(copy, f"{name} must have {len(content)} bytes")
    tiny_bundle.reseal(copy)
    refused(copy, name.replace(".", r"\."))


def test_required_files_must_be_listed(copy):
    (copy / "examples.parquet").unlink()
    tiny_bundle.reseal(copy)
    refused(copy, "missing: examples.parquet")


def test_full_verification_reads_every_byte(tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "large", items=20_000, user=16)
    path = folder / "catalogue.safetensors"
    assert path.stat().st_size > SMALL
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\xaa\x55\xaa\x55")
    Recommender(folder)
    with pytest.raises(BundleError, match=r"catalogue\.safetensors must have the SHA-256"):
        Recommender(folder, verify="full")


def _change_arrays(folder: Path, change) -> None:
    path = folder / "catalogue.safetensors"
    arrays = {name: np.array(array) for name, array in load_file(path).items()}
    changed = change(arrays)
    save_file(arrays if changed is None else changed, path)
    tiny_bundle.reseal(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["vectors"].__setitem__((3, 5), np.nan), "catalogue.safetensors: .*3.*5"),
        (lambda a: a["vectors"].__setitem__((39, 15), -np.inf), "catalogue.safetensors: .*39.*15"),
        (lambda a: a["tag_vectors"].__setitem__((0, 0), np.inf), "tag_vectors must be finite"),
        (lambda a: a["tag_embeddings"].__setitem__((0, 0), np.nan), "tag_embeddings must be finite"),
        (lambda a: a["tag_bits"].__setitem__((2, 0), 1 << 63), "0 past the last of 6 tags"),
        (lambda a: a["tag_bits"].__setitem__((2, 0), 63), "tag_bits of row 2"),
        (lambda a: a | {"vectors": a["vectors"].astype(np.float64)}, "vectors must be F32 .*got F64"),
        (lambda a: a | {"vectors": a["vectors"].T.copy()}, "vectors must be F32 .40, 16.; got F32 .16, 40."),
        (lambda a: a | {"tag_bits": a["tag_bits"].view(np.int64)}, "tag_bits must be U64 .*got I64"),
        (lambda a: {n: v for n, v in a.items() if n != "tag_bits"}, "must hold the tensors"),
        (lambda a: a | {"more": np.zeros(1, np.float32)}, "must hold the tensors"),
    ],
)
def test_wrong_catalogues(copy, change, message):
    _change_arrays(copy, change)
    refused(copy, message)


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b'{"vectors": {"dtype": "F32", "shape": [40, 16], "data_offsets": [0, 99999999]}}',
        b'{"vectors": {"dtype": "F32", "shape": [-1, 16], "data_offsets": [0, 4]}}',
        b'{"vectors": {"dtype": "F32", "shape": [18446744073709551615, 16], "data_offsets": [0, 4]}}',
        b"[" * 50_000,
        b"\xff" * 16,
    ],
)
def test_forged_safetensors_headers(copy, header):
    (copy / "catalogue.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    tiny_bundle.reseal(copy)
    refused(copy, "catalogue.safetensors must")
    (copy / "catalogue.safetensors").write_bytes((2**63).to_bytes(8, "little") + header)
    tiny_bundle.reseal(copy)
    refused(copy, "catalogue.safetensors must")


def test_tensors_must_be_aligned(copy):
    path = copy / "catalogue.safetensors"
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip() + b" "
    header += b" " * (4 - len(header) % 8 if len(header) % 8 <= 4 else 12 - len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    tiny_bundle.reseal(copy)
    refused(copy, "tag_bits must begin at a multiple of 8 bytes")


def _change_table(folder: Path, name: str, change) -> None:
    path = folder / name
    columns = pq.read_table(path).to_pydict()
    changed = change(columns)
    pq.write_table(pa.table(columns if changed is None else changed), path)
    tiny_bundle.reseal(folder)


STRINGS = pa.list_(pa.string())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("items", lambda c: {n: v[:-1] for n, v in c.items()}, "items.parquet must have 40 rows; got 39"),
        ("items", lambda c: c["item_id"].__setitem__(7, "i100"), "'i100' appears more than once"),
        ("items", lambda c: c["item_id"].__setitem__(7, ""), "must not be empty; it is in row 7"),
        ("items", lambda c: c["item_id"].__setitem__(7, None), "item_id must not hold nulls; row 7"),
        ("items", lambda c: c["title"].__setitem__(0, None), "title must not hold nulls; row 0"),
        ("items", lambda c: c["tags"].__setitem__(1, None), "tags must not hold nulls; row 1"),
        ("items", lambda c: c["tags"].__setitem__(1, ["Action", None]), "tags must not hold nulls; row 1"),
        ("items", lambda c: c["tags"].__setitem__(1, ["War"]), "tag_bits of row 1 .* War; 1 rows differ"),
        ("items", lambda c: c | {"item_id": list(range(40))}, "item_id must hold strings; got int64"),
        ("items", lambda c: c | {"tags": ["x"] * 40}, "tags must hold lists of strings; got string"),
        ("items", lambda c: {n: v for n, v in c.items() if n != "title"}, "one column title"),
        ("examples", lambda c: c["history"].__setitem__(0, ["0"]), "history of 'user 0' .* '0' is none"),
        ("examples", lambda c: c["name"].__setitem__(0, "user 1"), "name must be unique"),
        ("examples", lambda c: {"name": c["name"]}, "one column history"),
    ],
)
def test_wrong_tables(copy, name, change, message):
    _change_table(copy, f"{name}.parquet", change)
    refused(copy, message)


def test_large_strings_and_no_examples_are_fine(copy):
    large = pa.large_list(pa.large_string())
    items = pq.read_table(copy / "items.parquet").cast(
        pa.schema(
            [
                ("item_id", pa.large_string()),
                ("title", pa.large_string()),
                ("tags", large),
                ("year", pa.int64()),
            ]
        )
    )
    pq.write_table(items, copy / "items.parquet")
    empty = pa.table({"name": pa.array([], pa.string()), "history": pa.array([], STRINGS)})
    pq.write_table(empty, copy / "examples.parquet")
    tiny_bundle.reseal(copy)
    assert dict(Recommender(copy).examples) == {}


def test_tags_without_a_bit_are_allowed(copy):
    _change_table(copy, "items.parquet", lambda c: c["tags"].__setitem__(6, ["Rare"]))
    assert Recommender(copy).items.tags[6] == ("Rare",)


@pytest.mark.parametrize(
    ("target", "source"),
    [("backbone", "prompt_encoder"), ("prompt_encoder", "fusion_moe"), ("fusion_moe", "backbone")],
)
def test_swapped_graphs(copy, target, source):
    (copy / f"{target}.onnx").write_bytes((copy / f"{source}.onnx").read_bytes())
    tiny_bundle.reseal(copy)
    refused(copy, rf"{target}\.onnx: inputs must be")


def test_graphs_of_another_size(copy, tmp_path):
    other = tiny_bundle.write_tiny_bundle(tmp_path / "other", user=9, side=7)
    (copy / "backbone.onnx").write_bytes((other / "backbone.onnx").read_bytes())
    tiny_bundle.reseal(copy)
    refused(copy, r"backbone\.onnx: outputs: user must be float32 \(B, 8\); got float32 \(B, 9\)")


def test_garbage_graph(copy):
    (copy / "fusion_moe.onnx").write_bytes(b"\x08\x0agarbage" * 50)
    tiny_bundle.reseal(copy)
    refused(copy, r"fusion_moe\.onnx must be an ONNX file")
