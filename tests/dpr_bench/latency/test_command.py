# The whole command on a tiny model: everything is measured, written and told.
from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dpr_bench.latency import command
from dpr_bench.latency.cases import QUICK_PLAN
from dpr_bench.latency.command import LatencyOptions, run_latency
from dpr_bench.latency.contenders import COMPILED, FAISS, NUMPY, OPTIMISED, OURS, Models
from dpr_bench.latency.million import extend_to
from dpr_infer import Recommender
from dpr_train.checkpoint import CheckpointError
from tiny_bundle import edit_manifest


def _options(models: Models, out: Path | None) -> LatencyOptions:
    return LatencyOptions(
        bundle=models.bundle,
        checkpoint=models.checkpoint,
        dataset="examples",
        threads=[1, 2],
        quick=True,
        queries=200,
        out=out,
    )


def test_the_whole_command(models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plan = replace(
        QUICK_PLAN,
        batches=(1, 8),
        rounds=2,
        seconds=0.0,
        processes=1,
        million=3000,
        million_rounds=2,
        million_seconds=0.0,
    )
    monkeypatch.setattr(command, "QUICK_PLAN", plan)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    shown = StringIO()
    run_latency(replace(_options(models, tmp_path / "out"), threads=[2]), Console(file=shown, width=200))
    names = [f"latency_int8_quick{end}" for end in (".json", ".md", ".png", "_steps.png")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names

    document = json.loads((tmp_path / "out" / names[0]).read_text(encoding="utf-8"))
    assert len(document["rows"]) == 7 * 4
    assert all(row["calls"] == 2 and row["p50"] > 0 and row["p99"] is None for row in document["rows"])
    assert all(row["ratio"] == 1 for row in document["rows"] if row["pipeline"] == OURS)
    assert [row["pipeline"] for row in document["million"]] == [OURS, NUMPY, FAISS, OPTIMISED]
    assert list(document["left_out"]) == [COMPILED]
    assert len(document["cold"]) == 7
    assert [row["bundle"] for row in document["start_up"]] == [
        "int8, int8 prompt encoder",
        "the same, fp32 prompt encoder",
    ]
    assert len(document["goals"]) == 4  # those of cases need one thread

    page = (tmp_path / "out" / names[1]).read_text(encoding="utf-8")
    assert "## Whole queries, 2 threads" in page
    assert "| B = 8, prompts not cached | PyTorch eager, optimised | 2 |" in page
    assert f"Left out: {COMPILED} (a quick run does not compile)." in page
    assert "(latency_int8_quick_steps.png)" in page
    assert str(tmp_path) not in page
    assert str(models.bundle.parent) not in page
    assert "comparing answers" in shown.getvalue()


def test_a_checkpoint_of_another_model_is_refused(models: Models, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    for path in models.checkpoint.iterdir():
        (other / path.name).symlink_to(path)
    (other / "training.json").unlink()
    (other / "training.json").write_bytes((models.checkpoint / "training.json").read_bytes())
    weights = (models.checkpoint / "model.safetensors").read_bytes()
    (other / "model.safetensors").unlink()
    (other / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    options = replace(_options(models, None), checkpoint=other)
    with pytest.raises(CheckpointError, match="must be made of"):
        run_latency(options, Console(file=StringIO()))


def test_an_int8_backbone_is_refused(models: Models, tmp_path: Path):
    bundle = Path(shutil.copytree(models.bundle, tmp_path / "bundle"))
    edit_manifest(bundle, lambda manifest: manifest.update(backbone={"precision": "int8"}))
    with pytest.raises(ValueError, match=r"must have a backbone in fp32.*got int8"):
        run_latency(replace(_options(models, None), bundle=bundle), Console(file=StringIO()))


def test_many_items_begin_with_the_models_own(models: Models, tmp_path: Path):
    small = Recommender(models.float32)
    large = Recommender(extend_to(models.float32, tmp_path / "large", 500))
    assert len(large.items) == 500
    own = len(small.items)
    assert list(large.items.ids[:own]) == list(small.items.ids)
    assert large.items.ids[own] == f"{small.items.ids[0]}#1"
    assert large.items.tags[own] == small.items.tags[0]
    with pytest.raises(ValueError, match="must have fewer than"):
        extend_to(models.float32, tmp_path / "none", own)


def test_the_command_line_says_what_was_asked(models: Models):
    options = replace(_options(models, None), soak=True, queries=None, source="/somewhere")
    assert options.memory_queries == 1_000_000
    assert options.command == (
        "dpr-bench latency bundles/int8 --checkpoint runs/checkpoint --dataset examples --source FOLDER "
        "--threads 1 --threads 2 --quick --soak"
    )
    assert replace(options, soak=False).memory_queries == 20_000
    assert replace(options, soak=False, quick=False).memory_queries == 100_000
