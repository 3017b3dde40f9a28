# Which sizes plans are built for, and how onnxruntime's TensorRT provider is told of them.

from __future__ import annotations

import onnxruntime
import pytest

from dpr_infer import ProviderError, Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.engines.profiles import MAX_BATCH, batched_inputs, profiles
from dpr_infer.engines.tensorrt_provider import TENSORRT, with_bundle_options
from dpr_infer.graph_contract import contract
from tiny_bundle import write_tiny_bundle

CPU = "CPUExecutionProvider"


@pytest.fixture
def manifest(copy):
    return open_bundle(copy).manifest


def test_limits_of_the_manifest_are_those_of_the_profiles(tmp_path):
    folder = write_tiny_bundle(tmp_path / "b", version=4, history_limit=7, prompt_limit=40, tags=5)
    manifest = open_bundle(folder).manifest
    single, batch = profiles(manifest, "backbone", max_batch=9)
    assert (single["items"].least, single["items"].usual, single["items"].greatest) == (
        (1, 1),
        (1, 7),
        (1, 7),
    )
    assert (batch["items"].least, batch["items"].usual, batch["items"].greatest) == ((1, 1), (9, 7), (9, 7))
    (prompt,) = profiles(manifest, "prompt_encoder", max_batch=9)  # prompts are read one by one
    assert prompt["input_ids"].usual == (1, 16)
    assert prompt["input_ids"].greatest == (1, 40)
    assert prompt["tag_embeddings"].least == prompt["tag_embeddings"].greatest == (5, manifest.dims.token)
    assert len(profiles(manifest, "prompt_fusion")) == 1
    assert len(profiles(manifest, "fusion_moe")) == 2
    assert len(profiles(manifest, "fusion_moe", max_batch=1)) == 1


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_input_has_a_range_in_every_profile(tmp_path, version):
    manifest = open_bundle(write_tiny_bundle(tmp_path / "b", version=version)).manifest
    for name in manifest.graphs:
        inputs = contract(manifest.dims, manifest.format_version)[name][0]
        for profile in profiles(manifest, name):
            assert list(profile) == list(inputs)
            for port, (_, shape) in inputs.items():
                limits = profile[port]
                assert len(limits.least) == len(shape)
                assert limits.holds(limits.least)
                assert limits.holds(limits.usual)
                assert limits.holds(limits.greatest)
                assert not limits.holds((*limits.greatest, 1))
                assert not limits.holds(tuple(d + 1 for d in limits.greatest))
        assert set(batched_inputs(manifest, name)) == set(inputs) - {"tag_embeddings", "tag_vectors"}


def test_options_follow_from_the_bundle(copy, manifest):
    other = ("CUDAExecutionProvider", {"device_id": 1})
    ((name, options), kept, last) = with_bundle_options([TENSORRT, other, CPU], copy, manifest, "backbone")
    assert (name, kept, last) == (TENSORRT, other, CPU)
    cache = copy / "engines" / f"onnxruntime-{onnxruntime.__version__}"
    assert cache.is_dir()
    assert options == {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_engine_cache_prefix": f"backbone-{manifest.files['backbone.onnx'].sha256[:12]}",
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(cache),
        "trt_profile_min_shapes": "items:1x1",
        "trt_profile_opt_shapes": f"items:{MAX_BATCH}x{manifest.history_limit}",
        "trt_profile_max_shapes": f"items:{MAX_BATCH}x{manifest.history_limit}",
    }
    Recommender(copy, verify="full")  # the cache is no part of the bundle


def test_shapes_of_several_inputs(copy, manifest):
    ((_, options),) = with_bundle_options([TENSORRT], copy, manifest, "prompt_encoder")
    tags, token = manifest.dims.tags, manifest.dims.token
    assert (
        options["trt_profile_min_shapes"] == f"input_ids:1x1,attention_mask:1x1,tag_embeddings:{tags}x{token}"
    )


def test_what_the_caller_says_wins(copy, manifest, tmp_path):
    given = {
        "trt_engine_cache_path": str(tmp_path / "own"),
        "trt_fp16_enable": True,
        "trt_profile_min_shapes": "x",
    }
    ((_, options),) = with_bundle_options([(TENSORRT, given)], copy, manifest, "backbone")
    assert given.items() <= options.items()
    assert options["trt_timing_cache_path"] == str(tmp_path / "own")
    assert not (copy / "engines").exists()


def test_a_cache_that_cannot_be_made(copy, manifest):
    (copy / "engines").write_bytes(b"")
    with pytest.raises(
        ProviderError, match=r"keeps its engines in the bundle, and .* can't be made: .*cache_path"
    ):
        with_bundle_options([TENSORRT], copy, manifest, "backbone")


def test_other_providers_write_nothing(copy, manifest):
    assert with_bundle_options([CPU], copy, manifest, "backbone") == [CPU]
    assert not (copy / "engines").exists()
