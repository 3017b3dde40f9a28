# A model repository is what Triton's published schema says, and its models answer as the runtime does.

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from dpr_export.errors import ExportError
from dpr_export.triton import write_triton
from dpr_infer import BundleError, Recommender
from tiny_bundle import write_tiny_bundle

pytest.importorskip("tritonclient.grpc")

import fake_triton

_ONNX_TYPES = {onnx.TensorProto.INT64: fake_triton.INT64, onnx.TensorProto.FLOAT: fake_triton.FP32}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("triton") / "tiny", version=4)


@pytest.fixture(scope="module")
def repository(bundle) -> Path:
    out = bundle.parent / "deep" / "models"
    write_triton(bundle, out, max_batch=16)
    return out


@pytest.fixture
def triton(repository, monkeypatch) -> fake_triton.Triton:
    return fake_triton.Triton(repository, monkeypatch)


def texts(rows: list[list[str]]) -> np.ndarray:
    """Rows of different lengths, padded with empty texts."""
    width = max(map(len, rows), default=0)
    table = np.full((len(rows), width), b"", dtype=np.object_)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = [text.encode() for text in row]
    return table


def test_layout(bundle, repository):
    manifest = Recommender(bundle).manifest
    models = {path.name for path in repository.iterdir()}
    assert models == {f"dpr_{name}" for name in manifest.graphs} | {"dpr_recommender"}
    for name in models:
        config = fake_triton.read_config(repository / name)
        assert config.name == name
        assert [path.name for path in sorted((repository / name).iterdir())] == ["1", "config.pbtxt"]
    front = repository / "dpr_recommender" / "1"
    assert {path.name for path in front.iterdir()} == {"model.py", "bundle"}
    assert Recommender(front / "bundle", verify="full").manifest == manifest


def test_graphs_are_declared_as_they_are(bundle, repository):
    for name in Recommender(bundle).manifest.graphs:
        config = fake_triton.read_config(repository / f"dpr_{name}")
        graph = onnx.load(repository / f"dpr_{name}" / "1" / "model.onnx").graph
        assert (config.backend, config.max_batch_size) == ("onnxruntime", 0)
        for declared, real in ((config.input, graph.input), (config.output, graph.output)):
            assert {port.name: (port.data_type, list(port.dims)) for port in declared} == {
                value.name: (
                    _ONNX_TYPES[value.type.tensor_type.elem_type],
                    [-1 if d.dim_param else d.dim_value for d in value.type.tensor_type.shape.dim],
                )
                for value in real
            }


def test_the_front_batches(repository):
    config = fake_triton.read_config(repository / "dpr_recommender")
    assert (config.backend, config.max_batch_size) == ("python", 16)
    assert config.HasField("dynamic_batching")
    assert [port.name for port in config.input if not port.optional] == ["HISTORY"]
    assert config.input[0].allow_ragged_batch


def test_answers_are_those_of_the_runtime(bundle, triton):
    ours = Recommender(bundle)
    histories = [list(ours.examples["user 1"]), [], list(ours.examples["user 0"])]
    prompts = ["comedy", "", "no war"]
    (response,) = triton.infer(
        {"HISTORY": texts(histories), "PROMPT": texts([[p] for p in prompts])},
        asked=("ITEMS", "SCORES", "TITLES"),
    )
    assert not response.has_error()
    items, scores, titles = (tensor.as_numpy() for tensor in response.tensors)
    for row, (history, prompt) in enumerate(zip(histories, prompts, strict=True)):
        want = ours.query(history, prompt or None)
        assert [item.decode() for item in items[row]] == want.items
        assert [title.decode() for title in titles[row]] == want.titles
        np.testing.assert_allclose(scores[row], want.scores, rtol=1e-5)


def test_requests_share_a_batch_and_have_their_own_options(bundle, triton):
    ours = Recommender(bundle)
    history = list(ours.examples["user 2"])
    triton.infer({"HISTORY": texts([[]]), "PROMPT": texts([["no comedy"]])})
    triton.calls.clear()
    one, two = triton.infer(
        {"HISTORY": texts([history]), "K": np.array([[3]], np.int32), "PROMPT": texts([["no comedy"]])},
        {
            "HISTORY": texts([history[:2], []]),
            "PROMPT": texts([["no comedy"], ["no comedy"]]),
            "K": np.array([[2], [40]], np.int32),
            "STRENGTH": np.array([[0.5], [1]], np.float32),
            "STEER": texts([["strict"], [""]]),
            "WHERE": texts([[""], ["drama"]]),
        },
    )
    assert sorted(triton.calls) == ["dpr_backbone", "dpr_fusion_moe"]  # once for all; the prompt was kept
    (items, _), (more, scores) = ([t.as_numpy() for t in response.tensors] for response in (one, two))
    assert [i.decode() for i in items[0]] == ours.query(history, "no comedy", k=3).items
    strict = ours.query(history[:2], "no comedy", k=2, strength=0.5, steer="strict")
    assert [i.decode() for i in more[0] if i] == strict.items
    drama = ours.query([], "no comedy", k=40, where="drama")
    assert [i.decode() for i in more[1] if i] == drama.items
    assert np.isneginf(scores[0, len(strict.items) :]).all()


def test_only_what_is_asked_for_is_sent(triton):
    (response,) = triton.infer({"HISTORY": texts([[]])}, asked=("SCORES",))
    assert [tensor.name() for tensor in response.tensors] == ["SCORES"]


def test_an_error_concerns_its_request_alone(triton):
    wrong, right, other = triton.infer(
        {"HISTORY": texts([[], ["no such item"]])},
        {"HISTORY": texts([[]])},
        {"HISTORY": texts([[]]), "WHERE": texts([["comedy &"]])},
    )
    assert wrong.error().message().startswith("row 1: ")
    assert "no such item" in wrong.error().message()
    assert not right.has_error()
    assert "row 0: " in other.error().message()


def test_a_graph_that_fails_is_told(triton):
    triton.broken = {"dpr_backbone"}
    (response,) = triton.infer({"HISTORY": texts([[]])})
    assert response.error().message() == "row 0: dpr_backbone failed to run: out of memory"


def test_places_that_are_taken(bundle, repository, tmp_path):
    with pytest.raises(ExportError, match=r"got an existing model repository; --force replaces it"):
        write_triton(bundle, repository)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ExportError, match=r"got something else, left untouched"):
        write_triton(bundle, tmp_path / "mine", force=True)
    out = tmp_path / "models"
    write_triton(bundle, out, max_batch=2)
    write_triton(bundle, out, max_batch=3, force=True)
    assert fake_triton.read_config(out / "dpr_recommender").max_batch_size == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "models"]


@pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_the_old_repository_comes_back_when_the_new_one_cannot_be_moved(bundle, tmp_path, monkeypatch, error):
    out = tmp_path / "models"
    write_triton(bundle, out, max_batch=2)
    rename = Path.rename

    def fail_to_put(self, target):
        if self.name == "repository":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_to_put)
    with pytest.raises(type(error)):
        write_triton(bundle, out, max_batch=3, force=True)
    assert fake_triton.read_config(out / "dpr_recommender").max_batch_size == 2
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_engines_of_this_machine_are_not_copied(bundle, tmp_path):
    folder = write_tiny_bundle(tmp_path / "tiny")
    (folder / "engines").mkdir()
    (folder / "engines" / "a.plan").write_bytes(b"plan")
    write_triton(folder, tmp_path / "models")
    assert not (tmp_path / "models" / "dpr_recommender" / "1" / "bundle" / "engines").exists()


def test_damaged_bundles_are_refused(tmp_path):
    folder = write_tiny_bundle(tmp_path / "tiny")
    graph = folder / "backbone.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match=r"backbone\.onnx must have the SHA-256"):
        write_triton(folder, tmp_path / "models")
    assert not (tmp_path / "models").exists()
