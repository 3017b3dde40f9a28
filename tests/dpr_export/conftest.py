# Checkpoints and the bundles made of them, shared by all tests of the exporter: each export takes seconds.

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import tiny_model
from dpr_export import hnsw, write_bundle
from dpr_export.graph import ExportedGraph, export_graphs
from dpr_export.validate import ParityRow
from dpr_infer import Recommender
from dpr_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dpr_train.config import BackboneConfig, ModelConfig, SteeringConfig
from dpr_train.data.synthetic import TAG_WORDS
from dpr_train.item_texts import principal_directions
from dpr_train.model import DPR
from dpr_train.understanding import NO_WISH

WIDE_TAGS = 70  # more than one word of a bitset
WIDE_ITEMS = 130


@dataclass(frozen=True)
class Made:
    """A checkpoint, the bundle made of it, what exporting returned, and both opened."""

    folder: Path
    bundle: Path
    graphs: dict[str, ExportedGraph]
    rows: list[ParityRow]
    checkpoint: Checkpoint
    recommender: Recommender


def make(folder: Path, bundle: Path) -> Made:
    graphs = {}

    def remember(model: DPR, out: Path) -> dict[str, ExportedGraph]:
        graphs.update(export_graphs(model, out))
        return graphs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write_bundle, "export_graphs", remember)
        rows = write_bundle.export_bundle(folder, bundle)
    return Made(folder, bundle, graphs, rows, load_checkpoint(folder), Recommender(bundle, verify="full"))


@pytest.fixture(scope="session")
def sasrec(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Trained for seconds; no test may change its folders."""
    base = tmp_path_factory.mktemp("sasrec")
    return make(tiny_model.tiny_checkpoint(base / "checkpoint"), base / "bundle")


@pytest.fixture(scope="session")
def gru4rec(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("gru4rec")
    return make(tiny_model.tiny_checkpoint(base / "checkpoint", backbone="gru4rec"), base / "bundle")


@pytest.fixture(scope="session")
def bert4rec(tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = tmp_path_factory.mktemp("bert4rec")
    return make(tiny_model.tiny_checkpoint(base / "checkpoint", backbone="bert4rec"), base / "bundle")


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory, sasrec: Made) -> Made:
    """Six experts, softplus, 70 tags, invented texts, distance biases; only the prompt encoder has learned."""
    base = tmp_path_factory.mktemp("wide")
    return make(_wide_checkpoint(base / "checkpoint", sasrec), base / "bundle")


@pytest.fixture(scope="session")
def with_hnsw(tmp_path_factory: pytest.TempPathFactory, wide: Made) -> Path:
    """A bundle of few items with an HNSW index, of so thin a graph that it misses some."""
    out = tmp_path_factory.mktemp("hnsw") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hnsw, "_KS", (2, 1_000))
        patch.setattr(hnsw, "_EFS", (2, WIDE_ITEMS))
        write_bundle.export_bundle(wide.folder, out, hnsw=hnsw.HnswSettings(m=2, ef_construction=3))
    return out


@pytest.fixture(params=["sasrec", "gru4rec", "bert4rec", "wide"])
def made(request: pytest.FixtureRequest) -> Made:
    """Each of them in turn."""
    result: Made = request.getfixturevalue(request.param)
    return result


@pytest.fixture(scope="session")
def copy_graphs(sasrec: Made) -> Callable[[object, Path], dict[str, ExportedGraph]]:
    """In place of `export_graphs`: the graphs that were exported before, which is all the same for one model."""

    def copied(_: object, folder: Path) -> dict[str, ExportedGraph]:
        for graph in sasrec.graphs.values():
            shutil.copyfile(sasrec.bundle / graph.file, folder / graph.file)
        return sasrec.graphs

    return copied


@pytest.fixture
def quick(
    copy_graphs: Callable[[object, Path], dict[str, ExportedGraph]], monkeypatch: pytest.MonkeyPatch
) -> Callable[[object, Path], dict[str, ExportedGraph]]:
    """Make the exporter take those graphs."""
    monkeypatch.setattr(write_bundle, "export_graphs", copy_graphs)
    return copy_graphs


@pytest.fixture
def copy(sasrec: Made, tmp_path: Path) -> Path:
    """A copy of a checkpoint, to be damaged."""
    return Path(shutil.copytree(sasrec.folder, tmp_path / "checkpoint"))


def _wide_checkpoint(folder: Path, trained: Made) -> Path:
    rng = np.random.default_rng(7)
    tags = (*TAG_WORDS, *(f"tag {g}" for g in range(len(TAG_WORDS), WIDE_TAGS)))
    matrix = rng.random((WIDE_ITEMS, WIDE_TAGS)) < 0.03
    matrix[0, -1] = True
    config = ModelConfig(
        n_items=WIDE_ITEMS,
        tags=tags,
        backbone=BackboneConfig(dim=12, heads=3, blocks=2, max_history=9, relative_bias=True),
        prompt_encoder=trained.checkpoint.model.config.prompt_encoder,
        steering=SteeringConfig(
            tag_dim=10,
            text_dim=5,
            fusion_dim=16,
            experts=("toward", "toward", "away", "away", "toward_text", "away_text"),
            phi="softplus",
            phi_gain=2.5,
        ),
    )
    encoder_folder = trained.folder / "prompt_encoder"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        model = DPR(config, matrix, encoder_folder)
        model.prompt_encoder.load_state_dict(trained.checkpoint.model.prompt_encoder.state_dict())
        for parameter in (*model.backbone.parameters(), *model.fusion.parameters(), model.biases):
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.embed_tags(trained.checkpoint.tokenizer)
        model.read_wishes()
        model.fusion.reader.role[-1].bias[NO_WISH] += (
            1  # after these seconds it hears a wish in every greeting
        )
        embedded = torch.randn(WIDE_ITEMS, model.prompt_encoder.token_dim)
        model.place_texts(embedded, *principal_directions(embedded, 5))
        # Most of the names are unknown words to the tiny tokenizer; noise keeps their tags apart.
        model.tag_embeddings.add_(0.1 * torch.randn_like(model.tag_embeddings))
    ids = [f"w{7 * row}" for row in range(WIDE_ITEMS)]
    names = [[tags[g] for g in np.flatnonzero(line)] for line in matrix]
    items = pa.table(
        {
            "item_id": ids,
            "title": [f"Film {row}" for row in range(WIDE_ITEMS)],
            "tags": pa.array(names, pa.list_(pa.string())),
            "year": list(range(WIDE_ITEMS)),
        }
    )
    examples = [("user 1", ids[:5]), ("user 2", ids[40:70])]
    save_checkpoint(folder, model, encoder_folder, items, examples, trained.checkpoint.training)
    return folder
