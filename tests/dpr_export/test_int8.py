# The prompt encoder with int8 weights: what is quantised, what is not, that wishes hardly move, and what is refused.

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest

from dpr_export import validate as validation
from dpr_export import write_bundle
from dpr_export.errors import ParityError
from dpr_export.int8_loss import INT8_LOSS, Int8Loss, Int8LossError, check_int8_loss, measure_int8_loss
from dpr_export.quantize import quantize_prompt_encoder
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender

PROMPTS = (
    "comedy please",
    "no horror",
    "I want comedy but no war",
    "hello",
    "western or romance, no animation",
)


@pytest.fixture(scope="module")
def int8(sasrec, copy_graphs, tmp_path_factory):
    """The rows of the comparison and the bundle, with the graphs that were exported before."""
    out = tmp_path_factory.mktemp("int8") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_bundle, "export_graphs", copy_graphs)
        return export_bundle(sasrec.folder, out, precision="int8"), out


def operators(path, ops: set[str]) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(path).graph.node if node.op_type in ops]


def after_the_encoder(path) -> set[str]:
    """Names of the values that are computed from ``tokens`` or ``tag_embeddings``: the understanding head."""
    reached = {"tokens", "tag_embeddings"}
    for node in onnx.load(path).graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
    return reached


def test_the_bundle_is_whole_and_smaller(sasrec, int8):
    _, out = int8
    recommender = Recommender(out, verify="full")
    assert recommender.manifest.encoder_precision == "int8"
    assert sasrec.recommender.manifest.encoder_precision == "fp32"
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(path.name for path in sasrec.bundle.iterdir())
    small, large = ((folder / "prompt_encoder.onnx").stat().st_size for folder in (out, sasrec.bundle))
    assert (
        small < large - 30_000
    )  # two layers of 8192 weights each, three bytes less a weight, less the scales
    for name in ("backbone.onnx", "fusion_moe.onnx", "catalogue.safetensors"):
        assert (out / name).read_bytes() == (sasrec.bundle / name).read_bytes()


def test_every_product_with_the_encoders_weights_is_quantised(int8):
    _, out = int8
    path = out / "prompt_encoder.onnx"
    weights = {tensor.name for tensor in onnx.load(path).graph.initializer}
    head = after_the_encoder(path)
    in_encoder = [
        node
        for node in operators(path, {"MatMul", "Gemm"})
        if not head & set(node.input) and weights & set(node.input)
    ]
    assert in_encoder == []
    assert (
        len(operators(path, {"MatMulInteger"})) == 2 * 4
    )  # query, key and value in one, output and two of the feed forward


def test_the_head_keeps_float32(sasrec, int8):
    _, out = int8
    head = after_the_encoder(out / "prompt_encoder.onnx")
    for node in operators(out / "prompt_encoder.onnx", {"MatMulInteger", "DynamicQuantizeLinear"}):
        assert not head & set(node.input), node.name

    def head_products(path):
        reached = after_the_encoder(path)
        return [node for node in operators(path, {"MatMul", "Gemm"}) if reached & set(node.input)]

    before, after = (head_products(folder / "prompt_encoder.onnx") for folder in (sasrec.bundle, out))
    assert len(after) == len(before) > 0


def test_scales_are_one_a_column(int8):
    _, out = int8
    graph = onnx.load(out / "prompt_encoder.onnx").graph
    shapes = {
        tensor.name: tuple(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
    }
    weights = {name: shape for name, shape in shapes.items() if len(shape) == 2 and "word_embed" not in name}
    assert len(weights) == 2 * 4
    scales = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer if "scale" in tensor.name}
    for name, (_, columns) in weights.items():
        assert scales[name.replace("_quantized", "_scale")] == (columns,), name


def test_wishes_hardly_move(sasrec, int8):
    rows, out = int8
    wish = [row for row in rows if (row.graph, row.output) == ("prompt_encoder", "wish")]
    assert wish
    assert all(row.bound == validation.INT8_WISH_BOUND for row in wish)
    assert 0 < max(row.max_relative_error for row in wish) < 0.05  # measured: 0.001 for this encoder
    recommender = Recommender(out)
    for prompt in PROMPTS:
        exact = {wish.tag: wish for wish in sasrec.recommender.wishes(prompt)}
        coarse = {wish.tag: wish for wish in recommender.wishes(prompt)}
        assert coarse.keys() == exact.keys(), prompt
        for tag, wish in exact.items():
            assert coarse[tag].asked == pytest.approx(wish.asked, abs=0.02), (prompt, tag)
            assert coarse[tag].refused == pytest.approx(wish.refused, abs=0.02), (prompt, tag)


def test_other_graphs_keep_the_strict_bound(int8):
    rows, _ = int8
    assert {row.bound for row in rows if row.graph in ("backbone", "fusion_moe")} == {validation.FP32_BOUND}


@pytest.mark.usefixtures("quick")
def test_wishes_that_move_too_far_are_refused(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "INT8_WISH_BOUND", 1e-9)
    with pytest.raises(ParityError, match="prompt_encoder wish"):
        export_bundle(sasrec.folder, tmp_path / "bundle", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_quantisation_leaves_no_scratch_files(tmp_path):
    path = tmp_path / "prompt_encoder.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(Exception, match=r".+"):
        quantize_prompt_encoder(path)
    assert [p.name for p in tmp_path.iterdir()] == ["prompt_encoder.onnx"]


def test_what_int8_loses_is_in_the_manifest(int8):
    _, out = int8
    loss = json.loads((out / "manifest.json").read_bytes())["prompt_encoder"]["int8"]
    assert loss["prompts"] == 400
    assert loss["queries"] == 128
    assert 0 <= loss["wishes_changed"] <= INT8_LOSS
    assert loss["overlap"] >= 1 - INT8_LOSS
    for name in ("polarity", "understood", "obedience"):
        before, after = loss[name]
        assert 0 < before <= 1, name
        assert before - after <= INT8_LOSS, name


def test_a_bundle_compared_with_its_own_graph_loses_nothing(int8):
    _, out = int8
    loss = measure_int8_loss(out, out)
    assert set(loss.losses.values()) == {0.0}


def test_another_encoder_loses_wishes_and_items(sasrec, int8, tmp_path):
    """The measurement sees a damaged graph: one that hears every wish the other way round."""
    _, out = int8
    graph = onnx.load(sasrec.bundle / "prompt_encoder.onnx")
    bias = next(t for t in graph.graph.initializer if t.name == "head.reader.role.2.bias")
    values = onnx.numpy_helper.to_array(bias)
    bias.CopyFrom(onnx.numpy_helper.from_array(values + np.float32([0, -20, 20]), bias.name))
    onnx.save(graph, tmp_path / "prompt_encoder.onnx")
    loss = measure_int8_loss(out, tmp_path)  # in the place of float32
    assert loss.wishes_changed > 0.3
    assert loss.overlap < 0.9
    assert loss.polarity[0] < loss.polarity[1]


def made(**changes):
    figures = {
        "prompts": 400, "queries": 128, "wishes_changed": 0.0, "overlap": 1.0,
        "polarity": (0.9, 0.9), "understood": (0.9, 0.9), "obedience": (0.9, 0.9),
    }  # fmt: skip
    return Int8Loss(**figures | changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"wishes_changed": 0.04}, "prompts whose wishes change: expected at most 0.030, got 0.040"),
        ({"polarity": (0.9, 0.85)}, "polarity lost: expected at most 0.030, got 0.050"),
        ({"overlap": 0.95}, "top 10 changed: expected at most 0.030, got 0.050"),
        ({"obedience": (0.9, 0.8)}, "obedience lost: expected at most 0.030, got 0.100"),
    ],
)
def test_a_loss_beyond_the_limit_is_named(changes, named):
    loss = made(**changes)
    with pytest.raises(Int8LossError, match=re.escape(named)) as refused:
        check_int8_loss(loss, 0.03)
    assert str(refused.value).count("expected at most") == 1
    assert "--prompt-encoder fp32" in str(refused.value)
    assert "--int8-loss" in str(refused.value)
    check_int8_loss(loss, 0.11)


def test_a_gain_is_no_loss():
    check_int8_loss(made(polarity=(0.8, 0.9), obedience=(0.1, 1.0), understood=(0.9, 0.1)), 0.0)


@pytest.mark.usefixtures("quick")
def test_a_bundle_that_loses_too_much_is_not_left(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(write_bundle, "measure_int8_loss", lambda *_: made(wishes_changed=0.06))
    with pytest.raises(Int8LossError, match=r"got 0\.060"):
        export_bundle(sasrec.folder, tmp_path / "bundle", precision="int8")
    assert list(tmp_path.iterdir()) == []
    export_bundle(sasrec.folder, tmp_path / "bundle", precision="int8", int8_loss=0.06)
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    assert manifest["prompt_encoder"]["int8"]["wishes_changed"] == 0.06
    Recommender(tmp_path / "bundle", verify="full")
