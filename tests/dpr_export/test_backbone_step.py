# The graph that goes on from a state: against PyTorch at sizes of this file's choice, and in sessions.

from __future__ import annotations

import copy
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import damaged_bundle
import fake_tensorrt
import tiny_bundle
from dpr_export import write_bundle
from dpr_export.backbone_step import export_backbone_step
from dpr_export.engines import BOUNDS, build_tensorrt
from dpr_export.errors import ParityError
from dpr_export.graph import OPSET
from dpr_export.recorded_calls import record_calls
from dpr_export.tensorrt_graph import to_float16
from dpr_export.triton import write_triton
from dpr_infer import EngineError, Recommender, extend_bundle
from dpr_infer.bundle import open_bundle

TOLERANCE = 1e-4  # of the largest value
PROMPTS = ("something with comedy, please", "no drama", "")


def step(session, items: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    user, state = session.run(["user", "next_state"], {"items": items, "state": state})
    return user, state


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.fixture(scope="module")
def graph(gru4rec):
    return onnxruntime.InferenceSession(
        gru4rec.bundle / "backbone_step.onnx", providers=["CPUExecutionProvider"]
    )


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("cuts", [(), (1,), (1, 2, 3, 4, 5, 6), (4,)])
def test_wherever_a_history_is_cut(gru4rec, graph, batch, cuts):
    backbone = gru4rec.checkpoint.model.backbone
    rng = np.random.default_rng(batch)
    items = rng.integers(1, backbone.n_items + 1, (batch, 7))
    tokens = np.concatenate([np.zeros_like(items[:, :1]), items], axis=1)
    state = np.zeros((batch, backbone.gru.hidden_size), np.float32)
    for begin, end in zip((0, *cuts), (*cuts, 8), strict=True):
        user, state = step(graph, tokens[:, begin:end], state)
        read = items[:, : end - 1] if end > 1 else tokens[:, :1]
        assert_close(user, backbone(torch.from_numpy(read)).numpy())


@torch.no_grad()
def test_rows_of_a_batch_do_not_meet(gru4rec, graph):
    backbone = gru4rec.checkpoint.model.backbone
    rng = np.random.default_rng(0)
    items = rng.integers(0, backbone.n_items + 1, (4, 3))
    state = rng.uniform(-1, 1, (4, backbone.gru.hidden_size)).astype(np.float32)
    users, states = step(graph, items, state)
    for b in range(4):
        user, after = step(graph, items[b : b + 1], state[b : b + 1])
        assert_close(users[b : b + 1], user)
        assert_close(states[b : b + 1], after)


def test_what_is_written(gru4rec):
    model = onnx.load(gru4rec.bundle / "backbone_step.onnx")
    assert {(o.domain, o.version) for o in model.opset_import} == {("", OPSET)}
    assert not model.metadata_props
    manifest = gru4rec.recommender.manifest
    hidden = gru4rec.checkpoint.model.backbone.gru.hidden_size
    assert (manifest.format_version, manifest.dims.state) == (6, hidden)
    assert manifest.dims.trained_items == manifest.dims.items
    rows = [row for row in gru4rec.rows if row.graph == "backbone_step"]
    assert {(row.output, row.batch) for row in rows} == {
        (output, batch) for output in ("user", "next_state") for batch in (1, 2, 5)
    }


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "wide"])
def test_other_backbones_have_none_and_keep_their_version(request, name, tmp_path):
    made = request.getfixturevalue(name)
    assert made.recommender.manifest.format_version == 4
    assert not (made.bundle / "backbone_step.onnx").exists()
    assert export_backbone_step(made.checkpoint.model.backbone, tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_the_backbone_is_found(gru4rec, tmp_path, monkeypatch):
    def other(backbone, folder):
        changed = copy.deepcopy(backbone)
        with torch.no_grad():
            changed.gru.bias_hh_l0.add_(0.1)
        return export_backbone_step(changed, folder)

    monkeypatch.setattr(write_bundle, "export_backbone_step", other)
    with pytest.raises(ParityError, match=r"backbone_step user, batch 1, (.*\n)*backbone_step next_state"):
        write_bundle.export_bundle(gru4rec.folder, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(3))
def test_sessions_answer_as_queries(made, seed):
    rng, recommender = np.random.default_rng(seed), made.recommender
    limit = recommender.manifest.history_limit
    session = recommender.session(rng.choice(recommender.items.ids, rng.integers(0, 4)).tolist())
    exact = recommender.manifest.dims.state == 0
    while len(session.history) <= limit + 4:
        session.append(rng.choice(recommender.items.ids, rng.integers(1, 3)).tolist())
        match rng.integers(4):
            case 0:
                session.say(PROMPTS[rng.integers(len(PROMPTS))])
            case 1 if session.turns:
                session.undo()
        got = session.query(20)
        expected = recommender.query(session.history, session.turns, 20)
        assert (got.wishes, got.history_truncated) == (expected.wishes, expected.history_truncated)
        if exact or len(session.history) > limit:
            assert (got.items, got.scores.tobytes()) == (expected.items, expected.scores.tobytes())
            assert got.gates == expected.gates
        else:
            np.testing.assert_allclose(got.scores, expected.scores, rtol=1e-4, atol=1e-5)
            # Items may change places where their scores are that close.
            assert len(set(got.items) & set(expected.items)) >= 19


def test_items_are_added_to_a_bundle_of_version_6(gru4rec, tmp_path):
    tag = gru4rec.recommender.manifest.tags[0]
    extend_bundle(gru4rec.bundle, tmp_path / "more", ["new"], tags=[[tag]])
    recommender = Recommender(tmp_path / "more", verify="full")
    assert (recommender.manifest.format_version, recommender.manifest.dims.state) == (6, 24)
    session = recommender.session(["new", recommender.items.ids[0]])
    session.query()
    session.append(recommender.items.ids[1])
    got, expected = session.query(), recommender.query(session.history)
    assert (got.items, got.history_unread) == (expected.items, 1)


def test_hnsw_and_the_graph_in_one_bundle(gru4rec, tmp_path):
    pytest.importorskip("hnswlib")
    from dpr_export.hnsw import HnswSettings

    write_bundle.export_bundle(gru4rec.folder, tmp_path / "bundle", hnsw=HnswSettings(m=2, ef_construction=4))
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.hnsw is not None
    assert (manifest.format_version, manifest.hnsw.items) == (6, manifest.dims.items)
    session = Recommender(tmp_path / "bundle", index="hnsw").session()
    session.append(gru4rec.recommender.items.ids[3])
    assert session.query(5).items


def test_a_damaged_graph_is_refused_or_told(gru4rec, tmp_path):
    folder = shutil.copytree(gru4rec.bundle, tmp_path / "copy")
    damaged_bundle.break_graph(folder, "backbone_step")
    recommender = Recommender(folder)
    recommender.query(recommender.items.ids[:3])
    with pytest.raises(EngineError, match="backbone_step failed to run"):
        recommender.session(recommender.items.ids[:3]).query()
    serving = Recommender(gru4rec.bundle)
    with pytest.raises(EngineError, match="backbone_step failed to run"):
        serving.reload(folder)
    serving.session(recommender.items.ids[:3]).query()


def test_openvino_goes_on_alike(gru4rec):
    pytest.importorskip("openvino")
    ours, other = gru4rec.recommender, Recommender(gru4rec.bundle, engine="openvino")
    sessions = [recommender.session(ours.items.ids[:4]) for recommender in (ours, other)]
    for new in ([], ours.items.ids[5:6], ours.items.ids[6:9], ours.items.ids[:9]):  # at last beyond the limit
        scores = []
        for session in sessions:
            session.append(new)
            scores.append(session.query(10).scores)
        np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)


def test_float16_moves_a_step_little(gru4rec):
    calls = record_calls(gru4rec.bundle)["backbone_step"]
    assert {call.feed["items"].shape[1] == 1 for call in calls} == {True, False}
    model = to_float16(onnx.load(gru4rec.bundle / "backbone_step.onnx"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for call in calls:
        for got, want in zip(session.run(["user", "next_state"], call.feed), call.outputs, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=BOUNDS["fp16"] * np.abs(want).max())


def test_tensorrt_goes_on_alike(tmp_path, monkeypatch):
    """A stand-in for TensorRT, whose plans onnxruntime computes within the ranges that they were built for."""
    fake_tensorrt.install(monkeypatch)
    bundle = tiny_bundle.write_tiny_bundle(tmp_path / "tiny", version=6)
    build_tensorrt(bundle, max_batch=5)
    ours, other = Recommender(bundle), Recommender(bundle, engine="tensorrt", verify="full")
    ids, limit = ours.items.ids, ours.manifest.history_limit
    ours_at, others_at = (recommender.session(ids[: limit - 1]) for recommender in (ours, other))
    for item in ids[20:23]:
        ours_at.append(item)
        others_at.append(item)
        np.testing.assert_array_equal(ours_at.query().scores, others_at.query().scores)
    whole = other.session(ids[:limit])  # the longest call that there is
    np.testing.assert_array_equal(whole.query().scores, ours.session(ids[:limit]).query().scores)


def test_triton_gets_a_model_of_it(tmp_path):
    bundle = tiny_bundle.write_tiny_bundle(tmp_path / "tiny", version=6)
    write_triton(bundle, tmp_path / "models")
    config = (tmp_path / "models" / "dpr_backbone_step" / "config.pbtxt").read_text()
    assert '"next_state"' in config
    assert (tmp_path / "models" / "dpr_backbone_step" / "1" / "model.onnx").read_bytes() == (
        bundle / "backbone_step.onnx"
    ).read_bytes()
