# Each exported graph against PyTorch at sizes of this file's own choice, and what the ONNX files hold besides.

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from dpr_export.graph import OPSET, export_graphs

GRAPHS = ("backbone", "prompt_encoder", "prompt_fusion", "fusion_moe")
TOLERANCE = 1e-4  # of the largest value; the graphs differ from PyTorch by the order of sums
SHARE = {
    "keys": ["B", "T", "fusion"],
    "values": ["B", "T", "fusion"],
    "hidden": ["B", "experts", "hidden"],
    "sides": ["B", "experts", "side"],
    "strengths": ["B", "experts"],
}
# Capitals name a dynamic dimension, small letters a size of the manifest's ``dims``.
PORTS = {
    "backbone": ({"items": ["B", "L"]}, {"user": ["B", "user"]}),
    "prompt_encoder": (
        {"input_ids": ["B", "T"], "attention_mask": ["B", "T"], "tag_embeddings": ["G", "token"]},
        {"tokens": ["B", "T", "token"], "wish": ["B", "G", 2], "released": ["B", "G"]},
    ),
    "prompt_fusion": (
        {
            "tokens": ["B", "T", "token"],
            "attention_mask": ["B", "T"],
            "wish": ["B", "G", 2],
            "tag_vectors": ["G", "side"],
        },
        SHARE,
    ),
    "fusion_moe": (
        {"user": ["B", "user"], "attention_mask": ["B", "T"]} | SHARE,
        {"experts": ["B", "experts", "item"], "gates": ["B", "experts"]},
    ),
}


def run(made, name: str, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(made.bundle / f"{name}.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@torch.no_grad()
def pytorch(module: torch.nn.Module, feed: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    result = module(*map(torch.from_numpy, feed.values()))
    return tuple(t.numpy() for t in (result if isinstance(result, tuple) else (result,)))


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == np.float32
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def some_mask(rng: np.random.Generator, batch: int, length: int) -> np.ndarray:
    """Prompts of 1 to ``length`` tokens, the first of them full; padding on the right."""
    lengths = rng.integers(1, length + 1, batch)
    lengths[0] = length
    return (np.arange(length) < lengths[:, None]).astype(np.int64)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 8), (4, 5), (9, 9), (33, 2)])
def test_backbone(made, batch, length):
    rng = np.random.default_rng(batch)
    items = rng.integers(1, made.checkpoint.model.config.n_items + 1, (batch, length))
    for row in range(1, batch):
        items[row, : rng.integers(0, length + 1)] = 0
    items[-1] = 0 if batch > 1 else items[-1]
    feed = {"items": items}
    (expected,) = pytorch(made.checkpoint.model.backbone, feed)
    assert_close(run(made, "backbone", feed)["user"], expected)


def run_fusion(made, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both halves of the fusion, one behind the other."""
    share = run(made, "prompt_fusion", {name: array for name, array in feed.items() if name != "user"})
    return run(made, "fusion_moe", {name: feed[name] for name in ("user", "attention_mask")} | share)


@pytest.mark.parametrize(("batch", "length", "tags"), [(1, 1, 1), (1, 32, 3), (4, 13, 7), (7, 3, 130)])
def test_prompt_encoder(made, batch, length, tags):
    rng = np.random.default_rng(batch)
    mask = some_mask(rng, batch, length)
    known = made.checkpoint.model.tag_embeddings.numpy()
    embeddings = known[rng.integers(0, len(known), tags)] + 0.2 * rng.standard_normal((tags, known.shape[1]))
    feed = {
        "input_ids": rng.integers(0, 100, (batch, length)) * mask,
        "attention_mask": mask,
        "tag_embeddings": embeddings.astype(np.float32),
    }
    tokens, wish, released = pytorch(made.checkpoint.model.prompt_encoder, feed)
    got = run(made, "prompt_encoder", feed)
    assert_close(got["tokens"][mask > 0], tokens[mask > 0])  # nothing reads what stands on padding
    # These lie in [0, 1] and are compared as they are: where no tag is meant, all of a wish is next to 0.
    np.testing.assert_allclose(got["wish"], wish, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(got["released"], released, rtol=0, atol=TOLERANCE)
    assert got["released"].shape == (batch, tags)
    assert ((got["released"] >= 0) & (got["released"] <= 1)).all()


def nameless_wishes(sasrec, roles: list[float], tags: int, prompts: int = 40):
    """A model that reads wishes without a name, these classes above all in every token, and prompts for it."""
    model = copy.deepcopy(sasrec.checkpoint.model)
    rng = np.random.default_rng(0)
    mask = some_mask(rng, prompts, 8)
    feed = {
        "input_ids": rng.integers(5, 100, mask.shape) * mask,
        "attention_mask": mask,
        "tag_embeddings": rng.standard_normal((tags, model.prompt_encoder.token_dim)).astype(np.float32),
    }
    head = model.prompt_encoder.head
    with torch.no_grad():
        head.reader.role[-1].bias.copy_(torch.tensor(roles))
        head.match_bias.fill_(-50.0)
    _, plain, _ = pytorch(model.prompt_encoder, feed)
    assert (plain < 0.5).all()
    head.lift_above.fill_(-1e3)
    return model, feed


def graph_wishes(model, feed, folder) -> np.ndarray:
    graphs = export_graphs(model, folder)
    session = onnxruntime.InferenceSession(
        folder / graphs["prompt_encoder"].file, providers=["CPUExecutionProvider"]
    )
    return session.run(["wish"], feed)[0]


def test_a_wish_that_names_no_tag_is_lifted_alike(sasrec, tmp_path):
    model, feed = nameless_wishes(sasrec, [0.0, 20.0, 0.0], tags=6)  # every token asks
    _, wish, _ = pytorch(model.prompt_encoder, feed)
    assert ((wish[..., 0] > 0.5).sum(axis=1) == 1).all()  # the nearest tag of each prompt
    np.testing.assert_allclose(graph_wishes(model, feed, tmp_path), wish, rtol=0, atol=TOLERANCE)


def test_a_tag_nearest_to_a_request_and_a_refusal_is_lifted_to_neither_alike(sasrec, tmp_path):
    model, feed = nameless_wishes(sasrec, [-20.0, 0.0, 0.0], tags=2, prompts=400)
    with torch.no_grad():
        # Some tokens ask, others refuse, whatever was learned before.
        weight = model.prompt_encoder.head.reader.role[-1].weight
        weight.copy_(20 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
        ids, mask = (torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))
        classes = model.prompt_encoder.understand(ids, mask, torch.from_numpy(feed["tag_embeddings"])).roles
    _, wish, _ = pytorch(model.prompt_encoder, feed)
    sure = (torch.softmax(classes, -1)[..., 1:] * mask[..., None]).amax(1).numpy() > 0.5  # (B, 2)
    lifted = (wish > 0.5).any(1)
    assert (sure.all(1) & ~lifted.any(1)).any()  # both wishes come nearest to one tag
    assert (sure.all(1) & lifted.all(1)).any()
    assert (wish < 0.5).any(2).all()
    np.testing.assert_allclose(graph_wishes(model, feed, tmp_path), wish, rtol=0, atol=TOLERANCE)


def fusion_feed(made, batch: int, length: int, tags: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(batch)
    config = made.checkpoint.model.config
    width = made.checkpoint.model.prompt_encoder.token_dim
    wish = rng.random((batch, tags, 2)) * rng.integers(0, 2, (batch, 1, 2))  # some rows ask or refuse nothing
    return {
        "user": rng.standard_normal((batch, config.backbone.dim)).astype(np.float32),
        "tokens": rng.standard_normal((batch, length, width)).astype(np.float32),
        "attention_mask": some_mask(rng, batch, length),
        "wish": wish.astype(np.float32),
        "tag_vectors": rng.standard_normal((tags, config.steering.side_dim)).astype(np.float32),
    }


@pytest.mark.parametrize(("batch", "length", "tags"), [(1, 1, 1), (1, 31, 18), (6, 12, 2), (40, 4, 130)])
def test_fusion(made, batch, length, tags):
    feed = fusion_feed(made, batch, length, tags)
    experts, gates = pytorch(made.checkpoint.model.fusion, feed)
    got = run_fusion(made, feed)
    assert_close(got["experts"], experts)
    assert_close(got["gates"], gates)
    assert (got["gates"] >= 0).all()
    assert (got["gates"][gates == 0] == 0).all()  # closed means exactly 0


def test_wishes_below_the_threshold_close_every_gate_exactly(made):
    feed = fusion_feed(made, 5, 6, 4)
    threshold = np.float32(made.checkpoint.model.config.steering.gate_threshold)
    feed["wish"] = np.minimum(feed["wish"], np.nextafter(threshold, np.float32(0)))
    # Text experts read tokens, which are random here.
    of_tags = [not kind.endswith("_text") for kind in made.checkpoint.model.fusion.kinds]
    assert not run_fusion(made, feed)["gates"][:, of_tags].any()


def _graphs_within(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs_within(inner)


@pytest.mark.parametrize("name", GRAPHS)
def test_files_hold_no_notes_of_the_exporter(made, name):
    proto = onnx.load(made.bundle / f"{name}.onnx")
    assert not proto.metadata_props
    for holder in (*_graphs_within(proto.graph), *proto.functions):
        values = [] if isinstance(holder, onnx.FunctionProto) else [*holder.input, *holder.output]
        for part in (holder, *holder.node, *holder.value_info, *values):
            assert not part.metadata_props
            assert not part.doc_string


def test_no_file_names_a_path_of_this_machine(made):
    here = Path(__file__).parents[2]
    private = {str(here), str(Path.home()), tempfile.gettempdir(), str(Path(torch.__file__).parents[1])}
    private |= {"/home/", "site-packages", "stack_trace", "Traceback", 'File "/'}
    for path in made.bundle.iterdir():
        content = path.read_bytes()
        assert [text for text in private if text.encode() in content] == [], path.name


@pytest.mark.parametrize("name", GRAPHS)
def test_opset_is_the_declared_one_and_nothing_else_is_needed(made, name):
    proto = onnx.load(made.bundle / f"{name}.onnx")
    assert {(o.domain, o.version) for o in proto.opset_import} == {("", OPSET)}
    assert made.recommender.manifest.graphs[name].opset == OPSET
    assert all(t.data_location == onnx.TensorProto.DEFAULT for t in proto.graph.initializer)


@pytest.mark.parametrize("name", GRAPHS)
def test_dimensions_are_those_of_the_contract(made, name):
    graph = onnx.load(made.bundle / f"{name}.onnx").graph
    spec, dims = made.recommender.manifest.graphs[name], asdict(made.recommender.manifest.dims)
    for in_file, declared, contract in zip(
        (graph.input, graph.output), (spec.inputs, spec.outputs), PORTS[name], strict=True
    ):
        expected = {port: [dims.get(d, d) for d in shape] for port, shape in contract.items()}
        assert {port.name: list(port.shape) for port in declared} == expected
        assert {
            port.name: [d.dim_param or d.dim_value for d in port.type.tensor_type.shape.dim]
            for port in in_file
        } == expected
