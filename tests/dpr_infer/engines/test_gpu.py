# onnxruntime's GPU providers, and TensorRT itself, on a machine that has a GPU: pytest -m gpu. Elsewhere all of it is
# skipped; docs/engines.md says whether it has been run.

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from dpr_infer import Recommender
from dpr_infer.engines.tensorrt_provider import TENSORRT

pytestmark = pytest.mark.gpu

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
BOUNDS = {"fp32": 1e-4, "fp16": 1e-2}


@pytest.fixture(autouse=True)
def _gpu():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    if int(runtime.cudaGetDevice()[0]) != 0:
        pytest.skip("no NVIDIA GPU")


def assert_alike(ours: Recommender, theirs: Recommender, bound: float) -> None:
    tags = theirs.manifest.tags
    histories = list(theirs.examples.values())
    prompts = [None, *(f"no {tag}" for tag in tags), *tags]
    asked = [histories[i % len(histories)] for i in range(len(prompts))]
    for got, want in zip(ours.query_batch(asked, prompts), theirs.query_batch(asked, prompts), strict=True):
        np.testing.assert_allclose(got.scores, want.scores, rtol=0, atol=bound * np.abs(want.scores).max())
    alone = ours.query(histories[0], prompts[1])
    want = theirs.query(histories[0], prompts[1])
    np.testing.assert_allclose(alone.scores, want.scores, rtol=0, atol=bound * np.abs(want.scores).max())


@pytest.mark.parametrize("name", [CUDA, TENSORRT])
def test_providers_of_onnxruntime(copy, recommender, name):
    if name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {name}")
    ours = Recommender(copy, providers=[name, CPU])
    assert ours.providers[0] == name
    assert_alike(ours, recommender, BOUNDS["fp32"])
    if name == TENSORRT:
        assert list((copy / "engines").rglob("*.engine"))
        assert_alike(Recommender(copy, providers=[name, CPU]), recommender, BOUNDS["fp32"])  # from the cache


@pytest.mark.parametrize("precision", BOUNDS)
def test_plans(copy, recommender, precision):
    pytest.importorskip("tensorrt", reason="no TensorRT: dpr-infer[tensorrt]").Builder  # noqa: B018 - no stubs
    from dpr_export.engines import build_tensorrt

    build_tensorrt(copy, precision=precision, max_batch=4)  # which compares each graph itself
    ours = Recommender(copy, engine="tensorrt", precision=precision)
    assert_alike(ours, recommender, BOUNDS[precision])
