# From a bundle to its plans, against a stand-in for TensorRT: all that happens but what TensorRT itself does.

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import onnx
import pytest

import fake_tensorrt
from dpr_export.engines import build_tensorrt
from dpr_export.errors import ExportError, ParityError
from dpr_infer import BundleError, EngineError, MissingExtraError, Recommender
from dpr_infer.engines.tensorrt_engine import TensorRtEngine
from tiny_bundle import write_tiny_bundle


@pytest.fixture
def fake(monkeypatch):
    return fake_tensorrt.install(monkeypatch)


@pytest.fixture
def bundle(tmp_path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny", version=4)


def plans_of(bundle: Path) -> list[str]:
    return sorted(path.name for path in (bundle / "engines").glob("*.plan"))


def test_plans_for_every_graph(bundle, fake):
    said: list[str] = []
    paths = build_tensorrt(bundle, max_batch=5, say=said.append)
    manifest = Recommender(bundle, verify="full").manifest  # which the plans leave whole
    assert [path.name.split("-fp32-sm90-")[0] for path in paths] == list(manifest.graphs)
    assert plans_of(bundle) == sorted(path.name for path in paths)
    assert all(any(name in line for line in said) for name in manifest.graphs)
    ours = Recommender(bundle, engine="tensorrt")
    assert ours.query([], "comedy", k=5).items == Recommender(bundle).query([], "comedy", k=5).items
    about = json.loads(paths[0].with_suffix(".json").read_text())
    assert about["key"] == {
        "graph": "backbone",
        "graph_sha256": manifest.files["backbone.onnx"].sha256,
        "precision": "fp32",
        "tensorrt": fake[0].__version__,
        "driver": "12.8",
        "gpu": "Stand-in GPU",
        "sm": "9.0",
    }
    assert about["notes"]["max_batch"] == 5


def test_what_the_builder_is_told(bundle, fake):
    tensorrt, _ = fake
    build_tensorrt(bundle, max_batch=5)
    backbone, encoder = tensorrt.configs[:2]
    assert [profile.shapes["items"][2][0] for profile in backbone.profiles] == [1, 5]
    assert [profile.shapes["input_ids"][2][0] for profile in encoder.profiles] == [1]
    # float32 means float32: TensorFloat-32 has ten bits.
    assert all(config.flags == set() for config in tensorrt.configs)
    build_tensorrt(bundle, precision="fp16")
    assert all(config.flags == {fake_tensorrt.BuilderFlag.TF32} for config in tensorrt.configs[4:])


def test_timings_are_kept_for_the_next_build(bundle, fake):
    tensorrt, _ = fake
    build_tensorrt(bundle)
    (cache,) = (bundle / "engines").glob("timings-*")
    assert cache.name == "timings-sm90-10.13.0.35.cache"
    assert cache.read_bytes() == b"timed " * 4
    assert tensorrt.configs[3].cache.content == b"timed " * 3
    build_tensorrt(bundle, precision="fp16")
    assert tensorrt.configs[4].cache.content == b"timed " * 4
    cache.write_bytes(b"from elsewhere")  # of another device: dropped
    build_tensorrt(bundle)
    assert tensorrt.configs[8].cache.content == b""


@pytest.mark.parametrize(("lacking", "attention"), [(set(), True), ({"Attention"}, False)])
def test_attention_is_written_out_only_where_tensorrt_lacks_it(sasrec, tmp_path, fake, lacking, attention):
    tensorrt, _ = fake
    tensorrt.lacking = lacking
    bundle = Path(shutil.copytree(sasrec.bundle, tmp_path / "bundle"))
    build_tensorrt(bundle)
    operators = {node.op_type for model in tensorrt.built for node in model.graph.node}
    assert ("Attention" in operators) == attention
    history = next(iter(sasrec.recommender.examples.values()))
    got = Recommender(bundle, engine="tensorrt").query(history, "no horror", k=3)
    assert got.items == sasrec.recommender.query(history, "no horror", k=3).items


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_other_precisions(sasrec, tmp_path, fake, precision):
    bundle = Path(shutil.copytree(sasrec.bundle, tmp_path / "bundle"))
    build_tensorrt(bundle, precision=precision)
    encoder = fake[0].built[1]
    if precision == "fp16":
        assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in encoder.graph.initializer}
    else:
        assert "QuantizeLinear" in {node.op_type for node in encoder.graph.node}
    ours = Recommender(bundle, engine="tensorrt", precision=precision)
    assert ours.providers == (f"TensorRT SM 9.0 {precision}",)
    assert len(ours.query([], "no horror", k=3).items) == 3


@pytest.mark.usefixtures("fake")
def test_an_int8_bundle_is_refused(sasrec, tmp_path):
    from dpr_export.quantize import quantize_prompt_encoder
    from tiny_bundle import reseal

    bundle = Path(shutil.copytree(sasrec.bundle, tmp_path / "bundle"))
    quantize_prompt_encoder(bundle / "prompt_encoder.onnx")
    reseal(bundle)
    with pytest.raises(ExportError, match=r"prompt_encoder.onnx.*--prompt-encoder fp32"):
        build_tensorrt(bundle)


@pytest.mark.usefixtures("fake")
def test_a_plan_that_differs_is_not_left_behind(bundle, monkeypatch):
    run = TensorRtEngine.run
    monkeypatch.setattr(TensorRtEngine, "run", lambda self, feed: [a + 1 for a in run(self, feed)])
    with pytest.raises(ParityError, match=r"backbone: user for shapes .* against onnxruntime"):
        build_tensorrt(bundle)
    assert plans_of(bundle) == []
    assert not list((bundle / "engines").glob("*.json"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("error", [EngineError, KeyboardInterrupt])
def test_a_plan_that_could_not_be_compared_is_not_left_behind(bundle, monkeypatch, error):
    def fail(self, feed):
        raise error

    monkeypatch.setattr(TensorRtEngine, "run", fail)
    with pytest.raises(error):
        build_tensorrt(bundle)
    assert plans_of(bundle) == []
    assert not list((bundle / "engines").glob("*.json"))


def test_what_the_parser_says_is_told(bundle, fake):
    fake[0].lacking = {"Gather"}
    with pytest.raises(
        ExportError, match=r"backbone: expected a graph that TensorRT can read.*no importer for Gather"
    ):
        build_tensorrt(bundle)


def test_no_plan(bundle, fake):
    fake[0].fails = True
    with pytest.raises(ExportError, match="backbone: expected a plan from TensorRT, got none"):
        build_tensorrt(bundle)


def test_no_gpu(bundle, fake):
    fake[1].present = False
    with pytest.raises(EngineError, match="no CUDA-capable device"):
        build_tensorrt(bundle)


@pytest.mark.usefixtures("fake")
def test_a_builder_that_does_not_start(bundle, monkeypatch):
    def fail(self, logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(fake_tensorrt.Builder, "__init__", fail)
    with pytest.raises(ExportError, match=r"TensorRT: expected a builder, got .*nullptr"):
        build_tensorrt(bundle)


@pytest.mark.usefixtures("fake")
def test_the_graph_is_the_one_that_the_key_names(bundle):
    graph = bundle / "backbone.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match=r"backbone\.onnx must have the SHA-256"):
        build_tensorrt(bundle)


@pytest.mark.usefixtures("fake")
def test_precisions_are_checked(bundle):
    with pytest.raises(ExportError, match="engine precision: expected one of fp32, fp16, int8, got 'fp8'"):
        build_tensorrt(bundle, precision="fp8")


def test_missing_tensorrt_names_the_extra(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[tensorrt\]"):
        build_tensorrt(bundle)
    assert not (bundle / "engines").exists()
