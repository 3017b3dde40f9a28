# The user's half of the fusion, written node by node: the same as PyTorch for any batch and any padding, in few nodes.

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from dpr_export.fusion_graph import fusion_graph
from dpr_export.fusion_parts import UserHalf
from dpr_export.graph import OPSET
from dpr_train.fusion import FusionMoE

USER, DIM, SIDE = 16, 8, 10
KINDS = ("toward", "away", "toward", "away_text", "against")
TOLERANCE = 1e-5  # of the largest value


def half_of(**options) -> UserHalf:
    torch.manual_seed(0)
    made = FusionMoE(
        kinds=KINDS,
        threshold=0.4,
        user_dim=USER,
        token_dim=24,
        tag_dim=6,
        text_dim=4,
        dim=DIM,
        heads=2,
        reader_dim=12,
        **options,
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # some begin as zeros
            parameter.add_(0.3 * torch.randn_like(parameter))
    return UserHalf(made).eval()


def graph_of(half: UserHalf):
    experts = len(KINDS)
    prompt = [
        ("keys", "float32", ("B", "T", DIM)),
        ("values", "float32", ("B", "T", DIM)),
        ("attention_mask", "int64", ("B", "T")),
        ("hidden", "float32", ("B", experts, 2 * DIM)),
        ("sides", "float32", ("B", experts, SIDE)),
        ("strengths", "float32", ("B", experts)),
    ]
    made = [("experts", "float32", ("B", experts, USER + SIDE)), ("gates", "float32", ("B", experts))]
    return fusion_graph(half, [("user", "float32", ("B", USER)), *prompt], made, opset=OPSET)


def feeds(batch: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    lengths = rng.integers(1, length + 1, batch)
    experts = len(KINDS)
    shapes = {
        "user": (batch, USER),
        "keys": (batch, length, DIM),
        "values": (batch, length, DIM),
        "hidden": (batch, experts, 2 * DIM),
        "sides": (batch, experts, SIDE),
    }
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    made["attention_mask"] = (np.arange(length) < lengths[:, None]).astype(np.int64)
    made["strengths"] = (rng.random((batch, experts)) * rng.integers(0, 2, (batch, experts))).astype(
        np.float32
    )
    return made


@pytest.mark.parametrize("options", [{}, {"learned_gates": False}, {"separate": False}])
@torch.no_grad()
def test_the_graph_is_the_half(options):
    half = half_of(**options)
    session = onnxruntime.InferenceSession(
        graph_of(half).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch, length in ((1, 1), (1, 9), (7, 5), (40, 3)):
        feed = feeds(batch, length)
        expected = half(**{name: torch.from_numpy(array) for name, array in feed.items()})
        got = session.run(["experts", "gates"], feed)
        for array, tensor in zip(got, expected, strict=True):
            assert array.shape == tensor.shape
            np.testing.assert_allclose(
                array, tensor.numpy(), rtol=0, atol=TOLERANCE * np.abs(tensor.numpy()).max()
            )
        assert ((got[1] == 0) == (feed["strengths"] == 0)).all()  # closed means exactly 0


def test_it_is_23_nodes():
    # torch.export's graph of the same half has 40.
    assert len(graph_of(half_of()).graph.node) == 23
