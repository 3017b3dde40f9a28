# Whole runs: the same settings give the same bytes, whatever happened on the way.

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dpr_train.checkpoint import load_checkpoint
from dpr_train.config import TrainConfig
from dpr_train.data import make_synthetic
from dpr_train.evaluate import ResultRow
from dpr_train.item_texts import TextEmbedder
from dpr_train.prompt_encoder import HEAD_FILE
from dpr_train.run import RunError, train
from tiny_model import tiny_dataset, tiny_train_config

STAGES = ["backbone", "understanding", "steering"]


class StopError(Exception):
    pass


def stop_at(stage: str, step: int):
    def progress(what: str, done: int, total: int, text: str, /) -> None:
        # Stage 1 runs in a process of its own, and only its latest note is passed on.
        if what == stage and done >= step:
            raise StopError

    return progress


def run(out: Path, encoder: Path, config: TrainConfig | None = None, **options) -> list[ResultRow]:
    return train(tiny_dataset(), config or tiny_train_config(), out, encoder_folder=encoder, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    reported = []
    rows = run(out, encoder_folder, report=lambda stage, metrics: reported.append((stage, set(metrics))))
    assert [stage for stage, _ in reported] == STAGES
    assert reported[0][1] == {"valid_hr@10", "valid_ndcg@10"}
    assert [row.as_dict() for row in rows] == load_checkpoint(out).training["metrics"]["test"]
    assert not (out / "stages").exists()
    assert not (out / "run.json").exists()
    return out


def test_one_seed_one_checkpoint(finished: Path, encoder_folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "again", encoder_folder)
    assert content(tmp_path / "again") == content(finished)


def test_another_seed_another_checkpoint(finished: Path, encoder_folder: Path, tmp_path: Path) -> None:
    run(tmp_path / "other", encoder_folder, tiny_train_config(seed=1))
    before, after = content(finished), content(tmp_path / "other")
    for name in ("model.safetensors", "prompt_encoder/model.safetensors"):
        assert before[name] != after[name]
    assert before["items.parquet"] == after["items.parquet"]


def test_interrupted_in_every_stage_and_continued(
    finished: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    for stage, step in (("backbone", 3), ("understanding", 15), ("steering", 6)):
        with pytest.raises(StopError):
            run(out, encoder_folder, progress=stop_at(stage, step))
        assert not (out / "config.json").exists()
    seen = set()
    run(out, encoder_folder, progress=lambda what, done, total, text, /: seen.add(what))
    assert seen.isdisjoint({"backbone", "understanding"})  # done before, not done again
    assert content(out) == content(finished)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Path:
    """A folder with a run that was stopped at once."""
    out = tmp_path_factory.mktemp("begun") / "out"
    with pytest.raises(StopError):
        run(out, encoder_folder, progress=stop_at("backbone", 1))
    return out


def test_other_settings_are_named(begun: Path, encoder_folder: Path) -> None:
    config = tiny_train_config()
    changed = tiny_train_config(stage1=config.stage1.model_copy(update={"lr": 0.5}), seed=3)
    with pytest.raises(RunError) as error:
        run(begun, encoder_folder, changed)
    assert "config.seed (0, now 3), config.stage1.lr (0.002, now 0.5)" in str(error.value)
    assert "--restart" in str(error.value)


def test_other_data_are_named(begun: Path, encoder_folder: Path) -> None:
    with pytest.raises(RunError, match=r"differs in data \('[0-9a-f]+', now '[0-9a-f]+'\)"):
        train(make_synthetic(n_users=9), tiny_train_config(), begun, encoder_folder=encoder_folder)


def test_a_finished_folder_needs_restart(finished: Path, encoder_folder: Path, tmp_path: Path) -> None:
    before = content(finished)
    with pytest.raises(RunError, match="holds a finished checkpoint; expected a new folder, or --restart"):
        run(finished, encoder_folder)
    assert content(finished) == before


def test_restart_forgets_what_was_begun_or_finished(
    finished: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(out, encoder_folder, tiny_train_config(seed=1))
    with pytest.raises(StopError):
        run(
            out,
            encoder_folder,
            tiny_train_config(seed=2),
            restart=True,
            progress=stop_at("understanding", 12),
        )
    run(out, encoder_folder, restart=True)
    assert content(out) == content(finished)


def test_a_strange_folder_is_left_alone(encoder_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "prompt_encoder").mkdir()
    before = content(tmp_path)
    for restart in (False, True):
        with pytest.raises(RunError):
            run(tmp_path, encoder_folder, restart=restart)
    assert content(tmp_path) == before
    assert (tmp_path / "prompt_encoder").is_dir()
    (tmp_path / "config.json").unlink()
    with pytest.raises(RunError, match="is not empty"):
        run(tmp_path, encoder_folder)


def test_data_without_tags_are_refused(encoder_folder: Path, tmp_path: Path) -> None:
    dataset = tiny_dataset()
    untagged = replace(dataset, items=replace(dataset.items, tags=((),) * dataset.n_items))
    with pytest.raises(RunError, match="'synthetic': expected items with tags, got none"):
        train(untagged, tiny_train_config(), tmp_path / "out", encoder_folder=encoder_folder)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def trained_encoder(finished: Path) -> Path:
    return finished / "prompt_encoder"


def test_a_trained_prompt_encoder_is_taken_as_it_is(
    finished: Path, trained_encoder: Path, encoder_folder: Path, tmp_path: Path
) -> None:
    out, reported = tmp_path / "out", []
    rows = run(
        out, trained_encoder, text_folder=encoder_folder, report=lambda stage, _: reported.append(stage)
    )
    assert reported == ["backbone", "steering"]
    before, after = content(finished), content(out)
    for name in ("model.safetensors", HEAD_FILE, "tokenizer.json"):
        assert before[f"prompt_encoder/{name}"] == after[f"prompt_encoder/{name}"]
    assert before["model.safetensors"] == after["model.safetensors"]  # the same stages 1 and 3 follow
    assert [row.as_dict() for row in rows] == load_checkpoint(finished).training["metrics"]["test"]
    assert "understanding" not in load_checkpoint(out).training["metrics"]


def test_a_backbone_is_taken_over(finished: Path, encoder_folder: Path, tmp_path: Path) -> None:
    theirs = load_checkpoint(finished).model.backbone
    seen = set()
    run(
        tmp_path / "out",
        encoder_folder,
        tiny_train_config(seed=5),
        trained_backbone=theirs,
        progress=lambda what, *_: seen.add(what),
    )
    assert "backbone" not in seen
    ours = load_checkpoint(tmp_path / "out").model.backbone.state_dict()
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.state_dict().items())


def test_texts_lie_in_the_side_vectors(finished: Path) -> None:
    model = load_checkpoint(finished).model
    torch.testing.assert_close(model.text_vectors.norm(dim=-1), torch.ones(model.config.n_items))
    assert model.text_vectors.unique(dim=0).shape[0] > 10
    assert torch.equal(model.item_vectors()[:, -4:], model.text_vectors)


def test_a_text_encoder_of_another_width_is_named(
    encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wider(TextEmbedder):
        def __init__(self, folder: Path, **settings: Any) -> None:
            super().__init__(folder, **settings)
            self.dim += 1

    monkeypatch.setattr("dpr_train.run.TextEmbedder", Wider)
    with pytest.raises(RunError, match="expected an encoder as wide as the prompt encoder, 32, got 33"):
        run(tmp_path / "out", encoder_folder, text_folder=encoder_folder)
    assert not (tmp_path / "out").exists()


def test_restart_spares_the_prompt_encoder_that_it_needs(finished: Path, trained_encoder: Path) -> None:
    before = content(finished)
    with pytest.raises(RunError, match="which --restart empties"):
        run(finished, trained_encoder, restart=True)
    assert content(finished) == before


def test_items_without_tags_and_a_small_prompt_pool(encoder_folder: Path, tmp_path: Path) -> None:
    dataset = tiny_dataset()
    some = ((),) * 12 + dataset.items.tags[12:]
    config = tiny_train_config()
    small = tiny_train_config(stage3=config.stage3.model_copy(update={"prompts": 1, "epochs": 1}))
    sparse = replace(dataset, items=replace(dataset.items, tags=some))
    rows = train(sparse, small, tmp_path / "out", encoder_folder=encoder_folder)
    assert {row.task for row in rows} >= {"standard", "negative"}
