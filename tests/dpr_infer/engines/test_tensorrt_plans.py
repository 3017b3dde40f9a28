# A plan is found by what it was built of and for, and refused, naming both, for anything else.

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dpr_infer import BundleError, EngineError, Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.engines.tensorrt_plans import Machine, PlanKey, plan_key, read_plan, write_plan

HERE = Machine(tensorrt="10.13.0.35", driver="12.8", gpu="NVIDIA H100", sm="9.0")
OTHERS = {
    "graph_sha256": "b" * 64,
    "precision": "fp16",
    "tensorrt": "10.9.0.34",
    "driver": "13.0",
    "gpu": "NVIDIA H200",
    "sm": "8.6",
}


@pytest.fixture
def key(copy) -> PlanKey:
    return plan_key(open_bundle(copy).manifest, "backbone", "fp32", HERE)


def test_a_key_says_what_a_plan_was_built_of(copy, key):
    manifest = open_bundle(copy).manifest
    assert key.graph_sha256 == manifest.files["backbone.onnx"].sha256
    assert (key.graph, key.precision, key.tensorrt, key.driver, key.gpu, key.sm) == (
        "backbone",
        "fp32",
        "10.13.0.35",
        "12.8",
        "NVIDIA H100",
        "9.0",
    )


def test_a_plan_comes_back_and_the_bundle_stays_whole(copy, key):
    path = write_plan(copy, key, b"a plan", {"max_batch": 4})
    assert path.parent == copy / "engines"
    assert path.name.startswith("backbone-fp32-sm90-")
    assert read_plan(copy, key) == b"a plan"
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".plan"]
    Recommender(copy, verify="full")
    write_plan(copy, key, b"a newer plan", {})
    assert read_plan(copy, key) == b"a newer plan"


@pytest.mark.parametrize("field", OTHERS)
def test_any_difference_is_refused_naming_both(copy, key, field):
    other = replace(key, **{field: OTHERS[field]})
    assert other.stem != key.stem
    write_plan(copy, other, b"a plan", {})
    with pytest.raises(EngineError) as refused:
        read_plan(copy, key)
    message = str(refused.value)
    assert f"({key})" in message
    assert f"got one for {other}" in message
    shown = {"graph_sha256": (key.graph_sha256[:12], "b" * 12)}
    for text in shown.get(field, (getattr(key, field), OTHERS[field])):
        assert text in message
    assert "dpr-export BUNDLE --engine tensorrt --engine-precision fp32" in message


def test_plans_of_several_machines_lie_side_by_side(copy, key):
    other = replace(key, sm="8.6")
    write_plan(copy, key, b"ours", {})
    write_plan(copy, other, b"theirs", {})
    assert (read_plan(copy, key), read_plan(copy, other)) == (b"ours", b"theirs")


@pytest.mark.parametrize("folder", [False, True])
def test_no_plan_at_all(copy, key, folder):
    if folder:
        (copy / "engines").mkdir()
    with pytest.raises(EngineError, match=r"must have a TensorRT plan of backbone .*; got none\. dpr-export"):
        read_plan(copy, key)


def test_a_plan_of_another_graph_does_not_count(copy, key):
    write_plan(copy, replace(key, graph="fusion_moe"), b"a plan", {})
    with pytest.raises(EngineError, match="got none"):
        read_plan(copy, key)


@pytest.mark.parametrize("damage", [b"", b"a plam", b"a plan and more"])
def test_damage_is_found(copy, key, damage):
    write_plan(copy, key, b"a plan", {}).write_bytes(damage)
    with pytest.raises(EngineError, match=r"must have 6 bytes and the SHA-256.*Delete engines/"):
        read_plan(copy, key)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("key"),
        lambda d: d["key"].pop("sm"),
        lambda d: d["key"].update(sm=9),
        lambda d: d.update(format="something else"),
        lambda d: d.update(format_version=1),
        lambda d: d.update(bytes=-1),
    ],
)
def test_a_description_that_cannot_be_read(copy, key, edit):
    about = write_plan(copy, key, b"a plan", {}).with_suffix(".json")
    description = json.loads(about.read_text())
    edit(description)
    about.write_text(json.dumps(description))
    with pytest.raises(EngineError, match=rf"engines/{about.name}.*delete engines/"):
        read_plan(copy, key)


def test_only_a_real_folder_may_go_by_that_name(copy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (copy / "engines").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="engines must be a folder"):
        Recommender(copy)
    (copy / "engines").unlink()
    (copy / "engines").write_bytes(b"")
    with pytest.raises(BundleError, match="engines must be a folder"):
        Recommender(copy)
