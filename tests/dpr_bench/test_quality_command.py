# The whole command on a tiny model: every section is measured, written and shown, and nothing of this machine is told.

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dpr_bench.quality import command, understanding
from dpr_bench.quality.command import QualityOptions, run_quality, write_pages
from dpr_train.checkpoint import CheckpointError
from dpr_train.item_texts import TextEmbedder
from tiny_model import LONGEST, tiny_checkpoint, tiny_dataset

SECTIONS = (
    "rows",
    "weights",
    "understanding",
    "neutral",
    "strict",
    "strength",
    "cold",
    "text_wishes",
    "goals",
)
EXPERTS = ("toward", "toward", "away", "away", "toward_text", "away_text")
Options = Callable[..., QualityOptions]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("quality") / "checkpoint", experts=EXPERTS)


@pytest.fixture
def options(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    monkeypatch.setattr(command, "load_dataset", lambda *_, **__: tiny_dataset())
    monkeypatch.setattr(command, "fetch_minilm", lambda _: checkpoint.parent / "checkpoint.encoder")
    monkeypatch.setattr(command, "TextEmbedder", partial(TextEmbedder, max_tokens=LONGEST))
    monkeypatch.setattr(understanding, "KINDS", dict.fromkeys(understanding.KINDS, 1))

    def make(**changes: Any) -> QualityOptions:
        given = {"checkpoints": [checkpoint, checkpoint], "dataset": "synthetic", "source": "/hidden-place"}
        rest = {"bundle": None, "out": tmp_path / "results", "cache_dir": tmp_path}
        return QualityOptions(**given | rest | changes)

    return make


def test_everything_is_measured_and_written(options: Options, tmp_path: Path) -> None:
    run_quality(options(), Console(quiet=True))
    out = tmp_path / "results"
    document = json.loads((out / "quality_synthetic.json").read_text(encoding="utf-8"))
    assert all(document[name] for name in SECTIONS)
    assert document["seeds"] == [0, 0]
    rows = {(r["task"], r["choice"], r["system"], r["wording"]): r for r in document["rows"]}
    plain = rows["standard", "hard", "backbone", "-"]["masked"]
    assert plain["ndcg_by_seed"][0] == plain["ndcg_by_seed"][1]
    exact = rows["negative", "hard", "exact filter", "-"]["masked"]
    assert exact["violation"] == 0
    assert ("compound", "uniform", "ours, strict", "unseen words") in rows
    assert document["strength"]["negative"][0]["ndcg"] == pytest.approx(
        rows["negative", "hard", "backbone", "-"]["masked"]["ndcg"], abs=1e-6
    )  # without strength the prompt says nothing
    page = (out / "quality_synthetic.md").read_text(encoding="utf-8")
    for heading in ("### Negative", "## Goals", "## Understanding", "## Cold items", "## Strict steering"):
        assert heading in page
    assert "hidden-place" not in page + json.dumps(document)
    assert str(tmp_path) not in page + json.dumps(document)
    assert {p.suffix for p in out.iterdir()} == {".json", ".md", ".png"}


def test_pages_are_written_again_from_the_json(options: Options, tmp_path: Path) -> None:
    run_quality(options(checkpoints=options().checkpoints[:1], users=30), Console(quiet=True))
    out = tmp_path / "results"
    first = (out / "quality_synthetic.md").read_text(encoding="utf-8")
    document = json.loads((out / "quality_synthetic.json").read_text(encoding="utf-8"))
    goals = write_pages(document, tmp_path / "again")
    assert [goal.as_dict() for goal in goals] == document["goals"]
    assert (tmp_path / "again" / "quality_synthetic.md").read_text(encoding="utf-8") == first
    assert "A sample: 30 of the users" in first


def test_a_checkpoint_of_other_data_is_refused(options: Options, checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in checkpoint.iterdir():
        (other / file.name).symlink_to(file)
    training = json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))
    (other / "training.json").unlink()
    (other / "training.json").write_text(json.dumps(training | {"data_sha256": "0"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="was trained on data with checksum 0"):
        run_quality(options(checkpoints=[other]), Console(quiet=True))


def test_a_language_model_that_is_not_there_is_named(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"no module {name}")

    monkeypatch.setattr(command, "import_module", missing)
    with pytest.raises(ValueError, match="language_model"):
        run_quality(options(language_model=3), Console(quiet=True))
