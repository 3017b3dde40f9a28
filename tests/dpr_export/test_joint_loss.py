# A bundle whose prompt encoder and backbone are both int8: measured together, and held to the limit.

from __future__ import annotations

import json
import re

import pytest

from dpr_export import write_bundle
from dpr_export.int8_loss import INT8_LOSS, Int8LossError, check_int8_loss
from dpr_export.joint_loss import JointLoss, measure_joint_loss
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender


@pytest.fixture(scope="module")
def int8(sasrec, copy_graphs, tmp_path_factory):
    out = tmp_path_factory.mktemp("joint") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_bundle, "export_graphs", copy_graphs)
        export_bundle(sasrec.folder, out, precision="int8", backbone_precision="int8")
    return out


def made(**changes):
    figures = {"queries": 128, "overlap": 1.0, "overlap_in_batches": 1.0, "obedience": (0.9, 0.9)}
    return JointLoss(**figures | changes)


def test_what_both_lose_is_in_the_manifest(int8):
    manifest = json.loads((int8 / "manifest.json").read_bytes())
    loss = manifest["backbone"]["int8_with_prompt_encoder"]
    assert (loss["limit"], loss["queries"]) == (INT8_LOSS, manifest["prompt_encoder"]["int8"]["queries"])
    assert 1 - INT8_LOSS <= min(loss["overlap"], loss["overlap_in_batches"]) <= 1
    assert loss["obedience"][0] - loss["obedience"][1] <= INT8_LOSS
    opened = Recommender(int8, verify="full").manifest
    assert (opened.encoder_precision, opened.backbone_precision) == ("int8", "int8")


def test_graphs_compared_with_themselves_lose_nothing(sasrec):
    assert set(measure_joint_loss(sasrec.bundle, sasrec.bundle).losses.values()) == {0.0}


@pytest.mark.parametrize("graph", ["prompt_encoder", "backbone"])
def test_both_graphs_take_part(sasrec, int8, tmp_path, graph):
    """Float32 in the place of one of the two differs from both in float32."""
    for name in ("prompt_encoder", "backbone"):
        source = sasrec.bundle if name == graph else int8
        (tmp_path / f"{name}.onnx").write_bytes((source / f"{name}.onnx").read_bytes())
    both, one = measure_joint_loss(int8, sasrec.bundle), measure_joint_loss(int8, tmp_path)
    assert both.overlap != one.overlap


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"overlap": 0.94}, "top 10 changed by both: expected at most 0.050, got 0.060"),
        (
            {"overlap_in_batches": 0.92},
            "top 10 changed by both in batches: expected at most 0.050, got 0.080",
        ),
        ({"obedience": (0.9, 0.8)}, "obedience lost by both: expected at most 0.050, got 0.100"),
    ],
)
def test_a_loss_beyond_the_limit_is_named(changes, named):
    with pytest.raises(Int8LossError, match=re.escape(named)) as refused:
        check_int8_loss(made(**changes), 0.05)
    assert str(refused.value).count("expected at most") == 1
    assert str(refused.value).endswith(
        "export with --prompt-encoder fp32 or --backbone fp32, or allow more with --int8-loss"
    )
    check_int8_loss(made(**changes), 0.11)


@pytest.mark.usefixtures("quick")
def test_a_bundle_that_loses_too_much_is_not_left(sasrec, tmp_path, monkeypatch):
    monkeypatch.setattr(write_bundle, "measure_joint_loss", lambda *_: made(overlap=0.94))
    with pytest.raises(Int8LossError, match=r"got 0\.060"):
        export_bundle(sasrec.folder, tmp_path / "bundle", precision="int8", backbone_precision="int8")
    assert list(tmp_path.iterdir()) == []
    # One of them alone is none of its business.
    export_bundle(sasrec.folder, tmp_path / "bundle", backbone_precision="int8")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())
    assert "int8_with_prompt_encoder" not in manifest["backbone"]
