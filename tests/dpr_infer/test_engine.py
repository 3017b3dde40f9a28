# Providers are what was asked for, or opening fails; a missing onnxruntime is told.

from __future__ import annotations

import sys

import onnxruntime
import pytest

from dpr_infer import MissingExtraError, ProviderError, Recommender
from dpr_infer.engine import check_providers

CPU = "CPUExecutionProvider"


def test_cpu_runs_by_default_and_by_request(bundle_path, recommender):
    assert recommender.providers == (CPU,)
    assert Recommender(bundle_path, providers=[(CPU, {})]).providers == (CPU,)


@pytest.mark.parametrize(
    "providers", [["NoSuchProvider"], [("NoSuchProvider", {})], [CPU, "NoSuchProvider"], [3], [()]]
)
def test_unavailable_providers_are_refused(bundle_path, providers):
    with pytest.raises(ProviderError, match=r"providers must be out of .*CPUExecutionProvider"):
        Recommender(bundle_path, providers=providers)


@pytest.mark.parametrize("providers", [[], CPU, ()])
def test_providers_must_be_some(bundle_path, providers):
    with pytest.raises(ProviderError, match="at least one"):
        Recommender(bundle_path, providers=providers)


def test_silent_fallback_is_refused(bundle_path, monkeypatch):
    """onnxruntime offers CUDA, fails to start it, and runs on the CPU: what a missing driver looks like."""
    started = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, sess_options, providers: started(path, sess_options, providers=[CPU]),
    )
    with pytest.raises(ProviderError, match=r"CUDAExecutionProvider must run.* runs CPUExecutionProvider"):
        Recommender(bundle_path, providers=["CUDAExecutionProvider"])


def test_names_of_providers():
    assert check_providers(["A", ("B", {"x": 1})], ["B", "A"]) == ["A", "B"]


def test_missing_onnxruntime_names_the_extras(bundle_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[cpu\] or dpr-infer\[gpu\]"):
        Recommender(bundle_path)
