# The transformers' graphs, written node by node: the same answers as PyTorch whatever the sizes and the padding, and
# no more nodes than it takes.

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dpr_export import graph as exporter
from dpr_export.graph import OPSET
from dpr_export.transformer_graph import transformer_graph
from dpr_train.backbones import Backbone, build_backbone
from dpr_train.config import BackboneConfig

N_ITEMS = 23
LIMIT = 9
TOLERANCE = 1e-5  # of the largest value; products of weights are made in float64

KINDS = {
    "sasrec": BackboneConfig(kind="sasrec", dim=16, heads=2, blocks=2, max_history=LIMIT),
    "three blocks, four heads": BackboneConfig(
        kind="sasrec", dim=12, heads=4, blocks=3, max_history=LIMIT, relative_bias=True
    ),
    "one block": BackboneConfig(kind="sasrec", dim=8, heads=1, blocks=1, max_history=LIMIT),
    "one block with distances": BackboneConfig(
        kind="sasrec", dim=8, heads=2, blocks=1, max_history=LIMIT, relative_bias=True
    ),
    "bert4rec": BackboneConfig(kind="bert4rec", dim=16, heads=2, blocks=2, max_history=LIMIT),
    "bert4rec of one block": BackboneConfig(kind="bert4rec", dim=8, heads=2, blocks=1, max_history=LIMIT),
}


def backbone_of(config: BackboneConfig) -> Backbone:
    torch.manual_seed(0)
    made = build_backbone(config, N_ITEMS).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # norms begin as ones, biases as zeros
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return backbone_of(request.param)


def opened(model: onnx.ModelProto, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


@torch.no_grad()
def assert_same(session: onnxruntime.InferenceSession, backbone: Backbone, items: np.ndarray) -> None:
    expected = backbone(torch.from_numpy(items)).numpy()
    (user,) = session.run(["user"], {"items": items})
    assert user.shape == expected.shape
    np.testing.assert_allclose(user, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_every_length_with_and_without_padding(backbone):
    session, rng = opened(transformer_graph(backbone, opset=OPSET)), np.random.default_rng(0)
    for length in range(1, LIMIT + 1):
        assert_same(session, backbone, rng.integers(1, N_ITEMS + 1, (1, length)))
        items = rng.integers(1, N_ITEMS + 1, (length + 1, length))
        for padding, row in enumerate(items):  # from none to a history without items
            row[:padding] = 0
        assert_same(session, backbone, items)


def test_padding_changes_no_answer(backbone):
    session, rng = opened(transformer_graph(backbone, opset=OPSET)), np.random.default_rng(1)
    items = rng.integers(1, N_ITEMS + 1, (4, LIMIT - 3))
    (user,) = session.run(["user"], {"items": items})
    (padded,) = session.run(["user"], {"items": np.pad(items, ((0, 0), (3, 0)))})
    np.testing.assert_allclose(padded, user, rtol=0, atol=TOLERANCE * np.abs(user).max())


def test_one_node_a_norm_and_an_attention_even_after_the_optimiser(backbone, tmp_path):
    opened(transformer_graph(backbone, opset=OPSET), tmp_path / "optimised.onnx")
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    blocks = len(backbone.blocks)
    assert operators["Attention"] == blocks
    assert sum(count for name, count in operators.items() if "LayerNorm" in name) == 2 * blocks + 1
    assert operators["Transpose"] == operators["Softmax"] == operators["Expand"] == operators["Range"] == 0
    # The last block's queries alone are projected one by one; every other block has one product for all three.
    assert operators["MatMul"] == blocks - 1


def test_two_blocks_are_43_nodes():
    # torch.export's graph of the same backbone has 80.
    assert len(transformer_graph(backbone_of(KINDS["sasrec"]), opset=OPSET).graph.node) == 43


def test_a_history_too_long_for_constant_masks_is_exported_by_torch(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "LONGEST", sasrec.checkpoint.model.config.backbone.max_history)
    exporter.export_graphs(sasrec.checkpoint.model, tmp_path)
    model = onnx.load(tmp_path / "backbone.onnx")
    assert any(node.op_type == "Range" for node in model.graph.node)  # it computes its masks
    rng = np.random.default_rng(2)
    items = rng.integers(1, sasrec.checkpoint.model.config.n_items + 1, (3, 5))
    assert_same(opened(model), sasrec.checkpoint.model.backbone, items)
