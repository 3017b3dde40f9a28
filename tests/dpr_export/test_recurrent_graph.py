# GRU4Rec's graph, written node by node: the same answers as PyTorch whatever the lengths, also under an engine that
# does not look at them.

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from dpr_export.graph import OPSET
from dpr_export.recurrent_graph import recurrent_graph
from dpr_train.backbones import GRU4Rec

N_ITEMS, LIMIT = 23, 9
TOLERANCE = 1e-5  # of the largest value


@pytest.fixture(scope="module")
def backbone() -> GRU4Rec:
    torch.manual_seed(0)
    made = GRU4Rec(N_ITEMS, 6, LIMIT, hidden=10, dropout=0.0).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def under_onnxruntime(content: bytes):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda items: session.run(["user"], {"items": items})[0]


def under_openvino(content: bytes):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda items: compiled({"items": items})[0]


@pytest.mark.parametrize("engine", [under_onnxruntime, under_openvino])
@torch.no_grad()
def test_every_length_and_padding(backbone, engine):
    run = engine(recurrent_graph(backbone, opset=OPSET).SerializeToString())
    rng = np.random.default_rng(0)
    for length in range(1, LIMIT + 1):
        items = rng.integers(1, N_ITEMS + 1, (length + 1, length))
        for padding, row in enumerate(items):  # from none to a history without items
            row[:padding] = 0
        for batch in (items[:1], items[-1:], items):
            expected = backbone(torch.from_numpy(batch)).numpy()
            np.testing.assert_allclose(run(batch), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def test_it_is_15_nodes(backbone):
    # torch.export's graph of the same backbone has 53.
    assert len(recurrent_graph(backbone, opset=OPSET).graph.node) == 15
