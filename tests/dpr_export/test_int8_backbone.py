# The backbone with int8 weights: what is quantised, what is not, what is measured of it, and what is refused.

from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace

import onnx
import pytest

from dpr_export import validate as validation
from dpr_export import write_bundle
from dpr_export.backbone_loss import BackboneLoss, measure_backbone_loss
from dpr_export.errors import ExportError, ParityError
from dpr_export.int8_loss import INT8_LOSS, Int8LossError, check_int8_loss, overlap
from dpr_export.quantize import quantize_backbone
from dpr_export.tensorrt_graph import check_float
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender

PRODUCTS = {"MatMul", "Gemm", "MatMulInteger"}


@pytest.fixture(scope="module")
def int8(sasrec, copy_graphs, tmp_path_factory):
    """The rows of the comparison and the bundle, with the graphs that were exported before."""
    out = tmp_path_factory.mktemp("int8") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_bundle, "export_graphs", copy_graphs)
        return export_bundle(sasrec.folder, out, backbone_precision="int8"), out


def counted(path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def floats(path) -> dict[tuple[int, ...], list[bytes]]:
    """The float32 constants of a graph by shape."""
    found: dict[tuple[int, ...], list[bytes]] = {}
    for tensor in onnx.load(path).graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            found.setdefault(array.shape, []).append(array.tobytes())
    return found


def test_every_product_is_quantised_and_nothing_else(sasrec, int8):
    _, out = int8
    before, after = (counted(folder / "backbone.onnx") for folder in (sasrec.bundle, out))
    products = before["MatMul"] + before["Gemm"]
    assert products == 8  # two blocks: what attention reads, its output and two of the feed forward
    assert {op: after[op] for op in PRODUCTS} == {"MatMul": 0, "Gemm": 0, "MatMulInteger": products}
    for op in ("LayerNormalization", "Attention", "Gather", "Gelu"):
        assert after[op] == before[op] > 0, op


def test_weights_are_bytes_and_the_rest_keeps_its_floats(sasrec, int8):
    _, out = int8
    path, plain = out / "backbone.onnx", sasrec.bundle / "backbone.onnx"
    weights = [t for t in onnx.load(path).graph.initializer if t.data_type == onnx.TensorProto.INT8]
    matrices = {t.name: tuple(t.dims) for t in weights if len(t.dims) == 2}
    assert len(matrices) == 8
    scales = {t.name: tuple(t.dims) for t in onnx.load(path).graph.initializer if "scale" in t.name}
    for name, (_, columns) in matrices.items():
        assert scales[name.replace("_quantized", "_scale")] == (columns,), name
    n_items, dim = sasrec.recommender.manifest.dims.items, sasrec.recommender.manifest.dims.user
    for shape in ((n_items + 1, dim), (dim,)):  # item embeddings; norms and biases
        assert set(floats(plain)[shape]) <= set(floats(path)[shape]), shape


def test_only_the_backbone_differs(sasrec, int8):
    _, out = int8
    names = sorted(path.name for path in out.iterdir())
    assert names == sorted(path.name for path in sasrec.bundle.iterdir())
    differ = [name for name in names if (out / name).read_bytes() != (sasrec.bundle / name).read_bytes()]
    assert differ == ["backbone.onnx", "manifest.json"]
    assert Recommender(out, verify="full").manifest.backbone_precision == "int8"
    assert sasrec.recommender.manifest.backbone_precision == "fp32"
    assert "backbone" not in json.loads((sasrec.bundle / "manifest.json").read_bytes())


def test_the_backbone_has_a_bound_of_its_own(int8):
    rows, _ = int8
    errors = [row.max_relative_error for row in rows if row.graph == "backbone"]
    assert {row.bound for row in rows if row.graph == "backbone"} == {validation.INT8_USER_BOUND}
    assert 1e-4 < max(errors) < validation.INT8_USER_BOUND
    assert {row.bound for row in rows if row.graph != "backbone"} == {validation.FP32_BOUND}


@pytest.mark.usefixtures("quick")
def test_vectors_that_move_too_far_are_refused(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "INT8_USER_BOUND", 1e-9)
    with pytest.raises(ParityError, match="backbone user"):
        export_bundle(sasrec.folder, tmp_path / "bundle", backbone_precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_what_int8_loses_is_in_the_manifest(sasrec, int8):
    _, out = int8
    backbone = json.loads((out / "manifest.json").read_bytes())["backbone"]
    loss = backbone["int8"]
    assert backbone["precision"] == "int8"
    assert loss["limit"] == INT8_LOSS
    steps = sum(len(history) - 1 for history in sasrec.recommender.examples.values())
    assert (loss["next_items"], loss["queries"]) == (steps, steps + 64)
    assert 1 - INT8_LOSS <= loss["overlap"] <= 1
    assert 1 - INT8_LOSS <= loss["overlap_in_batches"] <= 1
    before, after = loss["ndcg"]
    assert 0 < before <= 1
    assert after >= before * (1 - INT8_LOSS)


def test_a_bundle_compared_with_its_own_graph_loses_nothing(sasrec):
    loss = measure_backbone_loss(sasrec.bundle, sasrec.bundle)
    assert set(loss.losses.values()) == {0.0}


def test_a_damaged_backbone_loses_items(sasrec, int8, tmp_path):
    """The measurement sees a graph whose last norm turns every vector round."""
    _, out = int8
    model = onnx.load(sasrec.bundle / "backbone.onnx")
    norm = model.graph.node[-1]
    assert (norm.op_type, norm.output[0]) == ("LayerNormalization", "user")
    for tensor in model.graph.initializer:
        if tensor.name in norm.input[1:]:
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, tmp_path / "backbone.onnx")
    loss = measure_backbone_loss(out, tmp_path)  # in the place of float32
    assert loss.overlap < 0.6
    assert loss.overlap_in_batches < 0.6
    assert loss.ndcg[0] != loss.ndcg[1]


def made(**changes):
    figures = {
        "queries": 300, "next_items": 236, "overlap": 1.0, "overlap_in_batches": 1.0, "ndcg": (0.2, 0.2)
    }  # fmt: skip
    return BackboneLoss(**figures | changes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"overlap": 0.94}, "top 10 changed: expected at most 0.050, got 0.060"),
        ({"overlap_in_batches": 0.92}, "top 10 changed in batches: expected at most 0.050, got 0.080"),
        ({"ndcg": (0.2, 0.18)}, "share of NDCG@10 lost: expected at most 0.050, got 0.100"),
    ],
)
def test_a_loss_beyond_the_limit_is_named(changes, named):
    with pytest.raises(Int8LossError, match=re.escape(named)) as refused:
        check_int8_loss(made(**changes), 0.05)
    assert str(refused.value).count("expected at most") == 1
    assert str(refused.value).startswith("the int8 backbone loses too much on 300 histories (")
    assert str(refused.value).endswith("export with --backbone fp32, or allow more with --int8-loss")
    check_int8_loss(made(**changes), 0.11)


def test_what_is_no_number_is_too_much():
    with pytest.raises(Int8LossError, match=re.escape("top 10 changed: expected at most 1.000, got nan")):
        check_int8_loss(made(overlap=float("nan")), 1.0)


def test_answers_without_items_are_the_same():
    def answers(*items):
        return [SimpleNamespace(items=of) for of in items]

    assert overlap(answers((), ("a", "b")), answers((), ("b", "c"))) == 0.75


@pytest.mark.parametrize("ndcg", [(0.1, 0.2), (0.0, 0.0)])
def test_a_gain_is_no_loss(ndcg):
    check_int8_loss(made(ndcg=ndcg), 0.0)


@pytest.mark.usefixtures("quick")
def test_a_bundle_that_loses_too_much_is_not_left(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(write_bundle, "measure_backbone_loss", lambda *_: made(overlap=0.94))
    with pytest.raises(Int8LossError, match=r"got 0\.060"):
        export_bundle(sasrec.folder, tmp_path / "bundle", backbone_precision="int8")
    assert list(tmp_path.iterdir()) == []
    export_bundle(sasrec.folder, tmp_path / "bundle", backbone_precision="int8", int8_loss=0.07)
    loss = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())["backbone"]["int8"]
    assert (loss["overlap"], loss["limit"]) == (0.94, 0.07)


def test_gru4rec_is_refused(gru4rec, tmp_path):
    with pytest.raises(ExportError, match=r"expected sasrec or bert4rec, got gru4rec.*--backbone fp32"):
        export_bundle(gru4rec.folder, tmp_path / "bundle", backbone_precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_bert4rec_and_distance_biases_are_quantised(bert4rec, wide, tmp_path):
    for made_of in (bert4rec, wide):
        path = tmp_path / "backbone.onnx"
        path.write_bytes((made_of.bundle / "backbone.onnx").read_bytes())
        quantize_backbone(path)
        assert counted(path)["MatMulInteger"] == 8


def test_tensorrt_names_the_option(int8):
    _, out = int8
    with pytest.raises(ExportError, match=r"backbone.onnx: .*--backbone fp32"):
        check_float(onnx.load(out / "backbone.onnx"), "backbone.onnx")


def test_other_precisions_are_refused(sasrec, tmp_path):
    with pytest.raises(ExportError, match="backbone precision: expected one of fp32, int8, got 'fp16'"):
        export_bundle(sasrec.folder, tmp_path / "bundle", backbone_precision="fp16")
