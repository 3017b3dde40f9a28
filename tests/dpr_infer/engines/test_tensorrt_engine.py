# The engine that runs plans, against a stand-in for TensorRT and CUDA (fake_tensorrt.py), and what is said where the
# real ones are missing. What it does on a GPU is tested in test_gpu.py.

from __future__ import annotations

import gc
import sys
from types import ModuleType

import numpy as np
import pytest

import fake_tensorrt
from dpr_infer import BundleError, EngineError, MissingExtraError, Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.engines.cuda import Cuda, DeviceArrays
from dpr_infer.engines.profiles import profiles
from dpr_infer.engines.tensorrt_engine import TensorRtEngine, machine
from dpr_infer.engines.tensorrt_plans import plan_key, write_plan

MAX_BATCH = 4


@pytest.fixture
def fake(monkeypatch):
    return fake_tensorrt.install(monkeypatch)


def add_plans(folder, *, precision="fp32", graphs=None) -> None:
    """Put plans beside a bundle; `graphs` takes other files for some of them."""
    manifest, here = open_bundle(folder).manifest, machine(Cuda())
    for name in manifest.graphs:
        model = (graphs or {}).get(name, folder / manifest.graphs[name].file).read_bytes()
        shapes = [
            {port: [list(r.least), list(r.usual), list(r.greatest)] for port, r in profile.items()}
            for profile in profiles(manifest, name, MAX_BATCH)
        ]
        write_plan(
            folder, plan_key(manifest, name, precision, here), fake_tensorrt.fake_plan(model, shapes), {}
        )


@pytest.mark.usefixtures("fake")
def test_a_recommender_answers_as_with_onnxruntime(copy, recommender, history):
    """Single queries, and batches that no plan takes whole."""
    add_plans(copy)
    ours = Recommender(copy, engine="tensorrt")
    assert ours.providers == ("TensorRT SM 9.0 fp32",)
    one, other = ours.query(history, "comedy, no war", k=7), recommender.query(history, "comedy, no war", k=7)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert one.items == other.items
    asked = [f"no {tag}" if i % 2 else tag for i, tag in enumerate(recommender.manifest.tags)] * 3
    histories = [history[: i % 4] for i in range(len(asked))]
    assert len(asked) > 2 * MAX_BATCH
    for got, want in zip(
        ours.query_batch(histories, asked), recommender.query_batch(histories, asked), strict=True
    ):
        np.testing.assert_allclose(got.scores, want.scores, rtol=1e-5)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("batch", [1, MAX_BATCH, MAX_BATCH + 1, 3 * MAX_BATCH])
def test_large_batches_are_run_in_parts(copy, batch):
    add_plans(copy)
    manifest = open_bundle(copy).manifest
    engine = TensorRtEngine(copy, manifest, "backbone")
    items = np.arange(1, 1 + 2 * batch).reshape(batch, 2) % manifest.dims.items
    (together,) = engine.run({"items": items})
    alone = [engine.run({"items": line[None]})[0][0] for line in items]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    kept = together.copy()
    engine.run({"items": items[::-1].copy()})
    np.testing.assert_array_equal(together, kept)  # what was returned is the caller's


@pytest.mark.usefixtures("fake")
def test_sizes_beyond_the_plan_are_refused(copy):
    add_plans(copy)
    manifest = open_bundle(copy).manifest
    engine = TensorRtEngine(copy, manifest, "backbone")
    with pytest.raises(
        EngineError, match=r"backbone must have shapes within .*items \(4, 10\); got items \(1, 11\)"
    ):
        engine.run({"items": np.ones((1, manifest.history_limit + 1), np.int64)})


@pytest.mark.parametrize(
    ("change", "here", "there"),
    [
        (lambda trt, cuda: setattr(trt, "__version__", "10.14.1.48"), "10.14.1.48", "10.13.0.35"),
        (lambda trt, cuda: setattr(cuda, "sm", (8, 6)), "SM 8.6", "SM 9.0"),
        (lambda trt, cuda: setattr(cuda, "version", 13000), "driver CUDA 13.0", "driver CUDA 12.8"),
    ],
    ids=["TensorRT", "GPU", "driver"],
)
def test_plans_of_another_machine_are_refused(copy, fake, change, here, there):
    add_plans(copy)
    change(*fake)
    with pytest.raises(EngineError) as refused:
        Recommender(copy, engine="tensorrt")
    assert here in str(refused.value)
    assert there in str(refused.value)


@pytest.mark.usefixtures("fake")
def test_each_precision_has_plans_of_its_own(copy):
    add_plans(copy, precision="fp16")
    assert Recommender(copy, engine="tensorrt", precision="fp16").providers == ("TensorRT SM 9.0 fp16",)
    with pytest.raises(EngineError, match=r"fp32.*got one for .*fp16"):
        Recommender(copy, engine="tensorrt")


@pytest.mark.usefixtures("fake")
def test_a_plan_that_tensorrt_does_not_take(copy):
    manifest = open_bundle(copy).manifest
    write_plan(copy, plan_key(manifest, "backbone", "fp32", machine(Cuda())), b"nonsense", {})
    with pytest.raises(EngineError, match="backbone: TensorRT must be able to load its plan"):
        TensorRtEngine(copy, manifest, "backbone")


@pytest.mark.usefixtures("fake")
def test_a_plan_of_something_else_is_refused(copy):
    add_plans(copy, graphs={"backbone": copy / "prompt_encoder.onnx"})
    with pytest.raises(BundleError, match=r"backbone.onnx: inputs must be items; got input_ids"):
        Recommender(copy, engine="tensorrt")


def test_what_tensorrt_refuses_is_told(copy, fake, monkeypatch):
    add_plans(copy)
    engine = TensorRtEngine(copy, open_bundle(copy).manifest, "backbone")
    feed = {"items": np.ones((1, 2), np.int64)}
    for method, what in {
        "set_input_shape": "shape",
        "set_tensor_address": "memory",
        "execute_async_v3": "call",
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(fake_tensorrt.ExecutionContext, method, lambda *_: False)
            with pytest.raises(EngineError, match=rf"backbone failed to run: TensorRT refused the {what}"):
                engine.run(feed)
    monkeypatch.setattr(fake[1], "cudaStreamSynchronize", lambda _: (fake_tensorrt.Status.no_device,))
    with pytest.raises(EngineError, match=r"cudaStreamSynchronize failed: .*\(CUDA error 100\)"):
        engine.run(feed)


def test_device_memory_grows_is_kept_and_given_back(fake):
    _, cuda = fake
    arrays = DeviceArrays(Cuda())
    first = arrays.address("a", 100)
    assert arrays.address("a", 60) == first
    assert arrays.address("b", 0) != first
    arrays.address("a", 101)
    assert sorted(len(memory) for memory in cuda.device.memory.values()) == [1, 101]
    del arrays
    assert cuda.device.memory == {}


def test_a_recommender_that_goes_takes_its_device_memory_along(copy, fake):
    add_plans(copy)
    ours = Recommender(copy, engine="tensorrt")
    ours.query([], "comedy")
    assert fake[1].device.memory
    del ours
    gc.collect()
    assert fake[1].device.memory == {}


def test_no_gpu(copy, fake):
    fake[1].present = False
    with pytest.raises(EngineError, match=r"cudaGetDevice failed: no CUDA-capable device is detected"):
        Recommender(copy, engine="tensorrt")


def test_the_real_bindings_say_that_there_is_no_gpu(copy, monkeypatch):
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if int(runtime.cudaGetDevice()[0]) == 0:
        pytest.skip("there is a GPU")
    fake_tensorrt.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    with pytest.raises(EngineError, match=r"cudaGetDevice failed: .* \(CUDA error \d+\)"):
        Recommender(copy, engine="tensorrt")


@pytest.mark.parametrize("module", [None, ModuleType("tensorrt")], ids=["nothing", "stubs"])
def test_missing_tensorrt_names_the_extra(bundle_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[tensorrt\]"):
        Recommender(bundle_path, engine="tensorrt")


def test_missing_cuda_bindings_name_the_extra(bundle_path, monkeypatch):
    fake_tensorrt.install(monkeypatch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingExtraError, match=r"cuda-bindings.*dpr-infer\[tensorrt\]"):
        Recommender(bundle_path, engine="tensorrt")
