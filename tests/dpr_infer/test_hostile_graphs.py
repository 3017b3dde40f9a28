# Graphs and tokenizers that reach outside their file, are no such thing, or do not give what they declare; and disks
# that fail while a bundle is read.

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import damaged_bundle
import tiny_bundle
from dpr_infer import BundleError, EngineError, Recommender
from dpr_infer import bundle as bundle_module
from dpr_infer.checked_engine import CheckedEngine
from dpr_infer.onnx_file import check_onnx_file
from dpr_infer.prompt_tokenizer import PromptTokenizer


def external(tensor: onnx.TensorProto, location: str) -> None:
    del tensor.external_data[:]
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "4"}.items():
        tensor.external_data.add(key=key, value=value)


def in_initializer(model, location):
    external(next(t for t in model.graph.initializer if t.name == "table"), location)


def in_a_constant(model, location):
    node = helper.make_node("Constant", [], ["extra"], value=numpy_helper.from_array(np.zeros(1, np.float32)))
    external(node.attribute[0].t, location)
    model.graph.node.append(node)


def in_a_list_of_tensors(model, location):
    node = helper.make_node("Odd", [], ["extra"], values=[numpy_helper.from_array(np.zeros(1, np.float32))])
    external(node.attribute[0].tensors[0], location)
    model.graph.node.append(node)


def in_a_branch(model, location):
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.zeros(1, np.float32), "x")])
    external(inner.initializer[0], location)
    model.graph.node.append(helper.make_node("If", ["c"], ["extra"], then_branch=inner, else_branch=inner))


def in_a_function(model, location):
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.zeros(1, np.float32)))
    external(node.attribute[0].t, location)
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("here", "F", [], ["y"], [node], opsets))


def in_a_sparse_tensor(model, location):
    values = numpy_helper.from_array(np.zeros(1, np.float32), "sparse")
    external(values, location)
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))


@pytest.mark.parametrize(
    "place",
    [in_initializer, in_a_constant, in_a_list_of_tensors, in_a_branch, in_a_function, in_a_sparse_tensor],
)
@pytest.mark.parametrize("location", ["/etc/passwd", "../x", "tokenizer.json", "*/_ORT_MEM_ADDR_/*"])
def test_tensors_outside_the_file(copy, place, location):
    damaged_bundle.edit_graph(copy, "backbone", lambda model: place(model, location))
    with pytest.raises(
        BundleError, match=r"^backbone\.onnx must hold all its tensors; one lies in another file$"
    ):
        Recommender(copy)


@pytest.mark.parametrize("field", ["external_data", "data_location"])
def test_either_half_of_a_reference_is_enough(copy, field):
    def change(model):
        tensor = model.graph.initializer[0]
        if field == "external_data":
            tensor.external_data.add(key="location", value="x")
        else:
            tensor.data_location = TensorProto.EXTERNAL

    damaged_bundle.edit_graph(copy, "backbone", change)
    with pytest.raises(BundleError, match="one lies in another file"):
        Recommender(copy)


def test_all_graphs_are_looked_at(copy):
    for name in ("prompt_encoder", "prompt_fusion", "fusion_moe"):
        before = (copy / f"{name}.onnx").read_bytes()
        damaged_bundle.edit_graph(copy, name, lambda model: in_a_constant(model, "x"))
        with pytest.raises(BundleError, match=rf"^{name}\.onnx must hold all its tensors"):
            Recommender(copy)
        (copy / f"{name}.onnx").write_bytes(before)
    tiny_bundle.reseal(copy)
    Recommender(copy)


def test_the_opset_is_the_one_stated(copy):
    damaged_bundle.edit_graph(copy, "backbone", lambda model: setattr(model.opset_import[0], "version", 21))
    with pytest.raises(
        BundleError, match=r"backbone\.onnx must have the opset 20 that the manifest states; got 21"
    ):
        Recommender(copy)
    damaged_bundle.edit_graph(
        copy, "backbone", lambda model: setattr(model.opset_import[0], "domain", "ai.x")
    )
    with pytest.raises(BundleError, match="got none"):
        Recommender(copy)


@pytest.mark.parametrize("domain", ["com.microsoft", "x"])
def test_operators_of_others(copy, domain):
    """onnxruntime's own read files, among other things."""
    node = helper.make_node("EPContext", [], ["extra"], domain=domain, ep_cache_context="../x", embed_mode=0)
    damaged_bundle.edit_graph(copy, "backbone", lambda model: model.graph.node.append(node))
    with pytest.raises(BundleError, match=r"^backbone\.onnx must use ONNX's own operators alone"):
        Recommender(copy)


def nested(depth: int) -> bytes:
    """A graph in a branch of a graph, and so on."""
    content = b""
    for _ in range(depth):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # a graph in an attribute in a node in a graph
            content = tag + _length(content) + content
    return b"\x3a" + _length(content) + content


def _length(content: bytes) -> bytes:
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return size + bytes([length])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be an ONNX file: cannot mmap an empty file"),
        (b"\x3a", "a number has no end"),
        (b"\x3a\xff", "a number has no end"),
        (b"\x08" + b"\xff" * 12, "a number has no end"),
        (b"\x3a\x05\0\0", "a field is longer than what it lies in"),
        (b"\x3b\x01\x3c", "a field of the wire type 3"),
        (b"\x38\x01", "field 7 of a message must be a message"),
        (nested(1_000), "it nests too deeply"),
        (b"\x08\0" * 2_000_001, "more than 2000000 fields"),
    ],
    ids=["empty", "tag", "length", "endless", "short", "group", "no message", "deep", "many"],
)
def test_what_is_no_onnx_file(tmp_path, content, message):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=rf"^x\.onnx must be an ONNX file: .*{message}|{message}"):
        check_onnx_file(tmp_path / "x.onnx", 20)


def test_a_graph_that_no_engine_loads(copy):
    damaged_bundle.edit_graph(
        copy, "fusion_moe", lambda model: setattr(model.graph.node[0], "op_type", "Nothing")
    )
    with pytest.raises(BundleError, match=r"fusion_moe\.onnx must be a graph that onnxruntime can load"):
        Recommender(copy)


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 3), np.float32),  # NumPy would spread it over the batch
        np.zeros((2, 1), np.float32),
        np.zeros((2, 3, 1), np.float32),
        np.zeros((2, 3), np.float64),
        np.float32(0),
    ],
    ids=lambda output: f"{output.dtype}{output.shape}",
)
def test_outputs_of_another_shape_are_refused(output):
    engine = SimpleNamespace(run=lambda feed: [output])
    checked = CheckedEngine(
        "backbone", engine, {"items": ("int64", ("B", "L"))}, {"user": ("float32", ("B", 3))}
    )
    feed = {"items": np.zeros((2, 7), np.int64)}
    with pytest.raises(EngineError, match=r"^backbone must give user as float32 \(2, 3\); got float"):
        checked.run(feed)
    engine.run = lambda feed: [np.zeros((2, 3), np.float32)] * 2
    with pytest.raises(EngineError, match="must give 1 outputs; got 2"):
        checked.run(feed)
    engine.run = lambda feed: [np.zeros((2, 3), np.float32)]
    assert len(checked.run(feed)) == 1


def test_a_graph_whose_output_has_a_size_of_its_own_is_found_by_full_verification(copy):
    """Its declaration names the size, so only running it tells."""

    def change(model):
        first = numpy_helper.from_array(np.array([0]), "first_row")
        model.graph.initializer.append(first)
        node = next(node for node in model.graph.node if node.output[0] == "user")
        node.output[0] = "all_users"
        model.graph.node.append(helper.make_node("Concat", ["all_users", "all_users"], ["user"], axis=0))

    damaged_bundle.edit_graph(copy, "backbone", change)
    with pytest.raises(
        EngineError, match=r"backbone must give user as float32 \(1, 8\); got float32 \(2, 8\)"
    ):
        Recommender(copy, verify="full")


def test_huge_tokenizers_are_not_read(copy):
    os.truncate(copy / "tokenizer.json", 2**26 + 1)
    with pytest.raises(BundleError, match=r"tokenizer\.json must have at most 67108864 bytes; got 67108865"):
        PromptTokenizer(copy / "tokenizer.json", 5)


class Panic(BaseException):
    """What Rust code raises: no Exception."""


@pytest.mark.parametrize("error", [Panic, Exception, ValueError])
def test_a_tokenizer_that_panics(copy, monkeypatch, error):
    def panic(*_):
        raise error("index out of range")

    tokenizer = PromptTokenizer(copy / "tokenizer.json", 5)
    monkeypatch.setattr(tokenizer, "_tokenizer", SimpleNamespace(encode=panic))
    with pytest.raises(
        EngineError, match=r"tokenizer\.json failed to cut a prompt into tokens: index out of range"
    ):
        tokenizer.encode("x")
    monkeypatch.setattr("tokenizers.Tokenizer", SimpleNamespace(from_file=panic))
    with pytest.raises(BundleError, match=r"tokenizer\.json must be a tokenizer .*: index out of range"):
        PromptTokenizer(copy / "tokenizer.json", 5)


def test_an_interrupt_is_no_panic(copy, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    tokenizer = PromptTokenizer(copy / "tokenizer.json", 5)
    monkeypatch.setattr(tokenizer, "_tokenizer", SimpleNamespace(encode=interrupt))
    with pytest.raises(KeyboardInterrupt):
        tokenizer.encode("x")


def test_a_tokenizer_without_its_unknown_word(copy):
    path = copy / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["unk_token"] = "?"
    path.write_text(json.dumps(content))
    tiny_bundle.reseal(copy)
    recommender = Recommender(copy)
    with pytest.raises(EngineError, match=r"tokenizer\.json failed to cut a prompt"):
        recommender.query([], "unheard of")


@pytest.mark.parametrize("failing", ["digest", "list", "manifest"])
def test_a_disk_that_fails(copy, monkeypatch, failing):
    def fail(*_args, **_options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    match failing:
        case "digest":
            monkeypatch.setattr(hashlib, "file_digest", fail)
        case "list":
            monkeypatch.setattr(Path, "iterdir", fail)
        case "manifest":
            monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(BundleError, match="must be readable: Input/output error"):
        Recommender(copy)
    with pytest.raises(BundleError, match="must be readable: Input/output error"):
        _inspect(copy)


def _inspect(folder: Path) -> None:
    """What dpr-bundle inspect does, and a look at the checksums."""
    manifest = bundle_module.read_manifest(folder)
    bundle_module.check_files(folder, manifest)
    bundle_module.check_hashes(folder, manifest, None)
