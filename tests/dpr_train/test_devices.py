# Where training computes. What needs a GPU is marked; docs/training.md says whether it has been run.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dpr_train.checkpoint import load_checkpoint
from dpr_train.config import BackboneConfig, BackboneStage, SteeringStage
from dpr_train.devices import DeviceError, choose_device, device_of, has_fast_bf16, tensors_on
from dpr_train.run import train
from tiny_model import tiny_dataset, tiny_train_config

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"expected a GPU that torch .* can use, got none"):
        choose_device("cuda")


def test_the_cpu_is_always_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert device_of(nn.Linear(1, 1)) == torch.device("cpu")


def test_arrays_become_tensors_in_order() -> None:
    ours = np.arange(3), np.ones((2, 1), dtype=np.float32)
    for array, tensor in zip(ours, tensors_on(torch.device("cpu"), *ours), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype


def test_bfloat16_is_fast_where_the_cpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for features, expected in (
        ({"avx2": True}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert has_fast_bf16(torch.device("cpu")) is expected


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", ["sasrec", "gru4rec", "bert4rec"])
@pytest.mark.parametrize(
    "stages",
    [
        {},
        {"stage1": BackboneStage(epochs=2, bf16=True, average=0.9, batch_tokens=200)},
        {"stage1": BackboneStage(epochs=2, loss="gbce", negatives=8)},
        {"stage3": SteeringStage(epochs=1, prompts=200, text_share=0.2, backbone_lr=1e-3)},
    ],
    ids=["plain", "bf16", "gbce", "joint"],
)
def test_all_stages_run_on_a_gpu(
    encoder_folder: Path, tmp_path: Path, kind: str, stages: dict[str, object]
) -> None:
    config = tiny_train_config(device="cuda", **stages)
    config = config.model_copy(update={"backbone": BackboneConfig(kind=kind, dim=16, max_history=12)})
    rows = train(tiny_dataset(), config, tmp_path / "run", encoder_folder=encoder_folder)
    assert all(np.isfinite(row.ndcg) for row in rows)
    model = load_checkpoint(tmp_path / "run").model
    assert device_of(model) == torch.device("cpu")
    assert model.tag_parts.isfinite().all()
