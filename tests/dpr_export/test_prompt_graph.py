# The prompt encoder's graph: prompts of one length have the bits that they have alone.

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dpr_infer.engines import onnx_engine
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.prompt_encoding import TOGETHER


@pytest.mark.parametrize("batch", [*TOGETHER, 33])
def test_a_prompt_does_not_depend_on_its_batch(sasrec, batch):
    manifest = sasrec.recommender.manifest
    engine = OnnxEngine(sasrec.bundle, manifest, "prompt_encoder", threads=1, providers=[CPU])
    rng = np.random.default_rng(3)
    tags = rng.standard_normal((len(manifest.tags), manifest.dims.token)).astype(np.float32)

    def run(ids):
        return engine.run({"input_ids": ids, "attention_mask": np.ones_like(ids), "tag_embeddings": tags})

    for length in range(3, min(20, manifest.prompt_token_limit) + 1):  # odd ones too: rows begin anywhere
        ids = rng.integers(1, 20, (batch, length))
        for output, *alone in zip(run(ids), *(run(ids[b : b + 1]) for b in range(batch)), strict=True):
            assert output.tobytes() == np.concatenate(alone).tobytes(), length


def test_a_layer_has_one_product_for_queries_keys_and_values(sasrec):
    nodes = [node.op_type for node in onnx.load(sasrec.bundle / "prompt_encoder.onnx").graph.node]
    layers = nodes.count("Attention")
    assert layers == 2
    assert nodes.count("Split") == layers
    assert "Transpose" not in nodes[: nodes.index("Attention") + 1]  # heads are Attention's own affair


def test_sums_and_layer_norms_stay_apart_on_the_cpu(sasrec, tmp_path, monkeypatch):
    options = onnx_engine._options

    def run_by_onnxruntime(name):
        def with_path(ort, threads):
            made = options(ort, threads)
            made.optimized_model_filepath = str(tmp_path / name)
            return made

        monkeypatch.setattr(onnx_engine, "_options", with_path)
        OnnxEngine(sasrec.bundle, sasrec.recommender.manifest, "prompt_encoder", threads=1, providers=[CPU])
        return [node.op_type for node in onnx.load(tmp_path / name).graph.node]

    assert "SkipLayerNormalization" not in run_by_onnxruntime("ours.onnx")
    monkeypatch.setattr(onnx_engine, "_SLOWER_ON_CPU", ())
    assert "SkipLayerNormalization" in run_by_onnxruntime("usual.onnx")
