# Providers are what was asked for, or opening fails and says what there is; what runs is told, graph by graph.

from __future__ import annotations

import sys
from types import SimpleNamespace

import onnxruntime
import pytest

import damaged_bundle
from dpr_infer import BundleError, MissingExtraError, ProviderError, QueryError, Recommender
from dpr_infer.engines.cuda_provider import with_full_precision
from dpr_infer.engines.providers import chains, check_providers, obtainable

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
GRAPHS = {"backbone", "prompt_encoder", "prompt_fusion", "fusion_moe"}
REAL_SESSION = onnxruntime.InferenceSession


def test_cpu_runs_by_default_and_by_request(bundle_path, recommender):
    assert recommender.providers == (CPU,)
    assert dict(recommender.graph_providers) == dict.fromkeys(recommender.manifest.graphs, (CPU,))
    assert Recommender(bundle_path, providers=[(CPU, {})]).providers == (CPU,)


@pytest.mark.parametrize(
    "providers", [["NoSuchProvider"], [("NoSuchProvider", {})], [CPU, "NoSuchProvider"]], ids=str
)
def test_unavailable_providers_are_refused(bundle_path, providers):
    with pytest.raises(ProviderError, match=r"out of .*CPUExecutionProvider.* got NoSuchProvider$"):
        Recommender(bundle_path, providers=providers)


@pytest.mark.parametrize("providers", [[], CPU, (), [3], [()], [(CPU,)], [(CPU, None)], {CPU}], ids=str)
@pytest.mark.parametrize("allow_fallback", [False, True])
def test_malformed_providers_are_refused(bundle_path, providers, allow_fallback):
    with pytest.raises(ProviderError, match=r"^providers must be (a sequence|names)"):
        Recommender(bundle_path, providers=providers, allow_fallback=allow_fallback)


@pytest.mark.parametrize("providers", [["NoSuchProvider"], ["NoSuchProvider", CPU]], ids=str)
def test_fallback_that_is_allowed_does_without(bundle_path, recommender, providers):
    fallen = Recommender(bundle_path, providers=providers, allow_fallback=True)
    assert fallen.providers == (CPU,)
    assert fallen.query([], "comedy").items == recommender.query([], "comedy").items


def test_cuda_multiplies_in_float32_unless_told_otherwise():
    own = (CUDA, {"use_tf32": 1, "device_id": 1})
    asked = [CUDA, (CUDA, {"device_id": 1}), own, (TENSORRT, {}), CPU]
    exact = with_full_precision(asked)
    assert exact == [
        (CUDA, {"use_tf32": 0}),
        (CUDA, {"use_tf32": 0, "device_id": 1}),
        own,
        (TENSORRT, {}),
        CPU,
    ]
    assert asked[0] == CUDA


class Onnxruntime:
    """Stands for an onnxruntime with GPU providers on a machine without a GPU: CUDA is left out, TensorRT raises."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[list[str]] = []
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.start)

    def start(self, path, sess_options, providers, enable_fallback, disabled_optimizers):
        assert enable_fallback == 0
        names = [entry[0] if isinstance(entry, tuple) else entry for entry in providers]
        assert bool(disabled_optimizers) == (
            names == [CPU]
        )  # what is slower on the CPU need not be elsewhere
        assert all(entry[1]["use_tf32"] == 0 for entry in providers if entry[0] == CUDA)
        self.tried.append(names)
        if TENSORRT in names:
            raise RuntimeError("Please install TensorRT libraries")
        return REAL_SESSION(path, sess_options, providers=[CPU])


@pytest.mark.parametrize("asked", [[CUDA], [CUDA, CPU], [TENSORRT], [TENSORRT, CUDA, CPU]], ids=str)
def test_silent_fallback_is_refused(copy, monkeypatch, asked):
    Onnxruntime(monkeypatch)
    with pytest.raises(ProviderError) as refused:
        Recommender(copy, providers=asked)
    missing = [name for name in asked if name != CPU]
    assert str(refused.value).startswith(f"{', '.join(missing)} must run")
    assert f"this onnxruntime has {TENSORRT}, {CUDA}, {CPU}" in str(refused.value)
    assert "start only CPUExecutionProvider" in str(refused.value)


@pytest.mark.parametrize("asked", [[CUDA], [TENSORRT], [TENSORRT, CUDA, CPU]], ids=str)
def test_allowed_fallback_ends_on_the_cpu_and_says_so(copy, monkeypatch, asked):
    seen = Onnxruntime(monkeypatch)
    fallen = Recommender(copy, providers=asked, allow_fallback=True)
    assert fallen.providers == (CPU,)
    assert len(fallen.query([], "comedy", k=3).items) == 3
    assert seen.tried[0] == asked


def test_the_graph_is_at_fault_when_the_cpu_fails_too(copy, monkeypatch):
    Onnxruntime(monkeypatch)
    damaged_bundle.edit_graph(
        copy, "backbone", lambda model: setattr(model.graph.node[0], "op_type", "Nothing")
    )
    with pytest.raises(BundleError, match=r"backbone.onnx must be a graph that onnxruntime can load"):
        Recommender(copy, providers=[TENSORRT])


def test_what_runs_is_read_off_the_nodes_and_may_differ_by_graph(copy, monkeypatch):
    """A provider that started and was given no node does not run, and each graph is told apart."""

    class Session:
        def __init__(self, path, **options):
            self._real = REAL_SESSION(path, options["sess_options"], providers=[CPU])
            self._used = [CPU] if path.endswith("prompt_encoder.onnx") else [CUDA, CPU, CUDA]

        def get_providers(self):
            return [CUDA, CPU]

        def get_provider_graph_assignment_info(self):
            return [SimpleNamespace(ep_name=name) for name in self._used]

        def __getattr__(self, name):
            return getattr(self._real, name)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    mixed = Recommender(copy, providers=[CUDA])
    assert mixed.providers == (CUDA, CPU)
    assert mixed.graph_providers["backbone"] == (CUDA, CPU)
    assert mixed.graph_providers["prompt_encoder"] == (CPU,)
    with pytest.raises(TypeError):
        mixed.graph_providers["backbone"] = ()


def test_older_onnxruntimes_tell_what_started(copy, monkeypatch):
    class Session(REAL_SESSION):
        get_provider_graph_assignment_info = None

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert Recommender(copy).providers == (CPU,)


def test_what_is_tried():
    a, b, cpu = ("A", {"x": 1}), "B", (CPU, {})
    assert check_providers([a, "B"]) == [a, "B"]
    assert obtainable([a, "B"], ["B", CPU], allow_fallback=True) == ["B"]
    assert obtainable([a], ["B", CPU], allow_fallback=True) == [CPU]
    assert chains([a, b, cpu]) == [[a, b, cpu], [b, cpu], [cpu]]
    assert chains([a]) == [[a], [CPU]]
    assert chains([CPU]) == [[CPU]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, r"engine must be one of onnxruntime, openvino.*got 'torch'"),
        ({"precision": "fp32"}, r"precision with the engine onnxruntime must be None.*got 'fp32'"),
        ({"engine": "openvino", "precision": "int4"}, r"openvino must be one of fp32, bf16; got 'int4'"),
        ({"engine": "openvino", "providers": [CPU]}, r"belong to engine=\"onnxruntime\""),
        ({"engine": "openvino", "allow_fallback": True}, r"belong to engine=\"onnxruntime\""),
        ({"engine": lambda *_: None, "precision": "fp32"}, r"with the engine a function must be None"),
    ],
)
def test_choices_that_fit_no_engine(bundle_path, options, message):
    with pytest.raises(QueryError, match=message):
        Recommender(bundle_path, **options)


def test_an_engine_of_ones_own(bundle_path, recommender):
    """A callable opens the graphs, and is given all that it needs for that."""
    opened = []

    class Echo:
        providers, on_cpu = ("somewhere else",), True

        def __init__(self, session):
            self._session = session

        def run(self, feed):
            return self._session.run(None, feed)

    def factory(folder, manifest, name):
        opened.append(name)
        return Echo(REAL_SESSION(folder / manifest.graphs[name].file, providers=[CPU]))

    own = Recommender(bundle_path, engine=factory)
    assert set(opened) == set(own.manifest.graphs) <= GRAPHS
    assert own.providers == ("somewhere else",)
    assert own.query([], "comedy").items == recommender.query([], "comedy").items


def test_missing_onnxruntime_names_the_extras(bundle_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[cpu\] or dpr-infer\[gpu\]"):
        Recommender(bundle_path)
