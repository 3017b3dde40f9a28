# OpenVINO says what onnxruntime says, within what two float32 engines may differ by.

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dpr_infer import BundleError, EngineError, MissingExtraError, Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.openvino_engine import OpenVinoEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.graph_contract import contract
from tiny_bundle import reseal, write_tiny_bundle

openvino = pytest.importorskip("openvino")

FP32 = 1e-5  # of the largest value: what sums in another order may come to (docs/engines.md)
INT8 = 0.05  # a sum that is rounded the other way may move a quantised value (docs/engines.md)
REAL = Path(__file__).parents[3] / "bundles" / "ml-100k"


def some_feed(manifest, name: str, batch: int, length: int, seed: int) -> dict[str, np.ndarray]:
    """Inputs that a graph may meet: padding on the left of histories, on the right of prompts."""
    rng = np.random.default_rng(seed)
    sizes = {"B": batch, "L": length, "T": length, "G": manifest.dims.tags}
    feed = {}
    for port, (dtype, shape) in contract(manifest.dims, manifest.format_version)[name][0].items():
        concrete = [sizes[d] if isinstance(d, str) else d for d in shape]
        feed[port] = (
            rng.integers(0, 5, concrete)
            if dtype == "int64"
            else rng.standard_normal(concrete).astype(np.float32)
        )
    if "attention_mask" in feed:
        feed["attention_mask"] = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(
            np.int64
        )
    if "items" in feed:
        feed["items"][0, 0] = 0
    if "wish" in feed:
        feed["wish"] = rng.random(feed["wish"].shape, dtype=np.float32)
    return feed


def assert_alike(got: list[np.ndarray], want: list[np.ndarray], bound: float) -> None:
    for ours, theirs in zip(got, want, strict=True):
        assert ours.dtype == theirs.dtype == np.float32
        assert ours.flags.c_contiguous
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound * max(1.0, np.abs(theirs).max(initial=0)))


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 9), (5, 4)])
def test_graphs_give_what_onnxruntime_gives(tmp_path, version, batch, length):
    folder = write_tiny_bundle(tmp_path / "tiny", version=version)
    manifest = open_bundle(folder).manifest
    for seed, name in enumerate(manifest.graphs):
        feed = some_feed(manifest, name, batch, length, seed)
        want = OnnxEngine(folder, manifest, name, threads=1, providers=[CPU]).run(feed)
        assert_alike(OpenVinoEngine(folder, manifest, name, threads=1).run(feed), want, FP32)


def test_a_whole_recommender(bundle_path, recommender, history):
    ours = Recommender(bundle_path, engine="openvino")
    assert ours.providers == ("OpenVINO CPU fp32",)
    for prompt in (None, "comedy", "no war, something with drama", ["comedy", "no comedy"]):
        got, want = ours.query(history, prompt, k=8), recommender.query(history, prompt, k=8)
        np.testing.assert_allclose(got.scores, want.scores, rtol=FP32)
        assert [wish.tag for wish in got.wishes] == [wish.tag for wish in want.wishes]
    batch = ours.query_batch([history, [], history[:1]], ["comedy", None, "no war"])
    alone = [
        ours.query(h, p) for h, p in zip([history, [], history[:1]], ["comedy", None, "no war"], strict=True)
    ]
    for one, other in zip(batch, alone, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, rtol=FP32)


def test_outputs_are_the_callers_own(bundle_path):
    """The next call must not write into what the one before returned."""
    manifest = open_bundle(bundle_path).manifest
    engine = OpenVinoEngine(bundle_path, manifest, "backbone", threads=1)
    (first,) = engine.run({"items": np.array([[1, 2]])})
    kept = first.copy()
    engine.run({"items": np.array([[3, 4]])})
    np.testing.assert_array_equal(first, kept)


def test_threads_may_share_an_engine(bundle_path):
    manifest = open_bundle(bundle_path).manifest
    engine = OpenVinoEngine(bundle_path, manifest, "backbone", threads=1)
    feeds = [{"items": np.array([[1 + i % 30, 2 + i % 7, 3]])} for i in range(60)]
    alone = [engine.run(feed)[0] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(lambda feed: engine.run(feed)[0], feeds), alone, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("precision", "hint"), [(None, "f32"), ("fp32", "f32"), ("bf16", "bf16")])
def test_threads_and_precision_reach_openvino(bundle_path, monkeypatch, precision, hint):
    seen = []

    class Core(openvino.Core):
        def get_property(self, *arguments):
            return [*super().get_property(*arguments), "BF16"]

        def compile_model(self, model, device, config):
            seen.append((device, config))
            return super().compile_model(model, device, config)

    monkeypatch.setattr(openvino, "Core", Core)
    ours = Recommender(bundle_path, engine="openvino", threads=3, precision=precision)
    assert ours.providers == (f"OpenVINO CPU {precision or 'fp32'}",)
    assert len(seen) == len(ours.manifest.graphs)
    for device, config in seen:
        assert device == "CPU"
        assert (config["INFERENCE_NUM_THREADS"], config["INFERENCE_PRECISION_HINT"]) == (3, hint)


def test_a_precision_that_the_cpu_lacks_is_refused(bundle_path, monkeypatch):
    """OpenVINO would take the hint, and compute in float32 without a word."""

    class Core(openvino.Core):
        def get_property(self, *arguments):
            return [name for name in super().get_property(*arguments) if name != "BF16"]

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(EngineError, match=r"precision 'bf16' must be one that this CPU has.*FP32"):
        Recommender(bundle_path, engine="openvino", precision="bf16")


@pytest.mark.parametrize("content", [b"not a graph at all", b""])
def test_bad_graphs_are_the_bundles_fault(copy, content, capfd):
    (copy / "backbone.onnx").write_bytes(content)
    reseal(copy)
    with pytest.raises(BundleError, match=r"^backbone.onnx"):
        Recommender(copy, engine="openvino")
    assert capfd.readouterr().err == ""


def test_a_graph_of_other_sizes_is_refused(copy, tmp_path):
    wider = write_tiny_bundle(tmp_path / "wider", user=12)
    (copy / "backbone.onnx").write_bytes((wider / "backbone.onnx").read_bytes())
    reseal(copy)
    with pytest.raises(BundleError, match=r"backbone.onnx: outputs: user must be float32"):
        Recommender(copy, engine="openvino")


def test_failures_are_told(bundle_path):
    manifest = open_bundle(bundle_path).manifest
    engine = OpenVinoEngine(bundle_path, manifest, "backbone", threads=1)
    with pytest.raises(EngineError, match=r"^backbone failed to run: "):
        engine.run({"items": "no array"})


def test_missing_openvino_names_the_extra(bundle_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[openvino\]"):
        Recommender(bundle_path, engine="openvino")


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "manifest.json").is_file(), reason="no bundles/ml-100k: make demo")
def test_the_demonstrations_bundle():
    """SASRec, the prompt encoder that ships, as the bundle has it, and the fusion, at opset 23."""
    ours, theirs = Recommender(REAL, engine="openvino"), Recommender(REAL)
    bound = INT8 if theirs.manifest.encoder_precision == "int8" else FP32
    tags = theirs.manifest.tags
    prompts = [None, *(f"Something with {tag}, please." for tag in tags), *(f"no {tag}" for tag in tags)]
    histories = list(theirs.examples.values())
    for i, prompt in enumerate(prompts):
        history = histories[i % len(histories)]
        got, want = ours.query(history, prompt, k=10), theirs.query(history, prompt, k=10)
        scale = np.abs(want.scores).max()
        if prompt is None:
            np.testing.assert_allclose(got.scores, want.scores, rtol=0, atol=FP32 * scale)
        strong = [{w.tag for w in found.wishes if max(w.asked, w.refused) >= 0.7} for found in (got, want)]
        assert strong[0] == strong[1], prompt
        heard = {w.tag: np.array([w.asked, w.refused]) for w in want.wishes}
        for wish in got.wishes:
            if wish.tag in heard:
                assert np.abs(heard[wish.tag] - [wish.asked, wish.refused]).max() <= bound
    assert json.dumps(ours.providers)
