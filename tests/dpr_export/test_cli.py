# dpr-export as a user meets it: exit codes, one line for an error, nothing left behind. Damaged checkpoints, too.

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from dpr_export import validate as validation
from dpr_export import write_bundle
from dpr_export.backbone_loss import BackboneLoss
from dpr_export.cli import main
from dpr_export.int8_loss import Int8Loss
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender
from dpr_train.checkpoint import CheckpointError


@pytest.fixture(autouse=True)
def _same_threads():
    """The command line sets torch's threads for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "bundle"


@pytest.fixture
def dpr_export(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line; give its exit code and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dpr-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def nothing_at(out: Path) -> bool:
    return list(out.parent.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_export_and_replace(sasrec, out, dpr_export):
    code, stdout, stderr = dpr_export(sasrec.folder, "--out", out, "--threads", 1)
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert lines[0] == f"reading {sasrec.folder}..."
    assert "Parity with PyTorch" in stdout
    assert lines[-1].startswith(f"Bundle: {out}  (")
    Recommender(out, verify="full")

    code, _, stderr = dpr_export(sasrec.folder, "--out", out)
    assert code == 1
    assert (
        stderr == f"dpr-export: {out}: expected a new folder, got an existing bundle; --force replaces it\n"
    )

    code, _, _ = dpr_export(
        sasrec.folder, "--out", out, "--force", "--prompt-encoder", "int8", "--threads", 1
    )
    assert code == 0
    assert Recommender(out).manifest.encoder_precision == "int8"


@pytest.mark.usefixtures("quick")
def test_what_int8_loses_is_printed_or_refused(sasrec, out, dpr_export, monkeypatch):
    loss = Int8Loss(
        prompts=400, queries=128, wishes_changed=0.068, overlap=0.981,
        polarity=(0.951, 0.949), understood=(0.9, 0.897), obedience=(0.962, 0.96),
    )  # fmt: skip
    monkeypatch.setattr(write_bundle, "measure_int8_loss", lambda *_: loss)
    command = [sasrec.folder, "--out", out, "--prompt-encoder", "int8", "--threads", 1]
    code, _, stderr = dpr_export(*command)
    assert code == 1
    assert stderr == (
        "dpr-export: the int8 prompt encoder loses too much on 400 validation prompts (prompts whose wishes change: "
        "expected at most 0.050, got 0.068); export with --prompt-encoder fp32, or allow more with --int8-loss\n"
    )
    assert nothing_at(out)
    code, stdout, _ = dpr_export(*command, "--int8-loss", 0.07)
    assert code == 0
    table = stdout[stdout.index("prompt encoder: int8 against float32") :]
    assert "at most 0.07 may be lost" in " ".join(table.split())
    for figure in ("6.8%", "98.1%", "95.1%", "94.9%", "90.0%", "89.7%", "96.2%", "96.0%"):
        assert figure in table
    code, _, stderr = dpr_export(sasrec.folder, "--out", out, "--force", "--int8-loss", 0.05)
    assert code == 2
    assert "--int8-loss needs --prompt-encoder int8, --backbone int8 or --text-encoder int8" in " ".join(
        stderr.replace("│", " ").split()
    )


@pytest.mark.usefixtures("quick")
def test_what_an_int8_backbone_loses_is_printed_or_refused(sasrec, gru4rec, out, dpr_export, monkeypatch):
    loss = BackboneLoss(
        queries=300, next_items=236, overlap=0.981, overlap_in_batches=0.979, ndcg=(0.1234, 0.1111)
    )
    monkeypatch.setattr(write_bundle, "measure_backbone_loss", lambda *_: loss)
    command = [sasrec.folder, "--out", out, "--backbone", "int8", "--threads", 1]
    code, _, stderr = dpr_export(*command)
    assert code == 1
    assert stderr == (
        "dpr-export: the int8 backbone loses too much on 300 histories (share of NDCG@10 lost: expected at most 0.050, "
        "got 0.100); export with --backbone fp32, or allow more with --int8-loss\n"
    )
    assert nothing_at(out)
    code, stdout, _ = dpr_export(*command, "--int8-loss", 0.2)
    assert code == 0
    table = " ".join(stdout[stdout.index("backbone: int8 against float32") :].split())
    for text in ("98.1%", "97.9%", "0.1234", "0.1111", "300 histories", "at most 0.2 may be lost"):
        assert text in table
    code, _, stderr = dpr_export(gru4rec.folder, "--out", out, "--force", *command[3:])
    assert code == 1
    assert "got gru4rec" in stderr


@pytest.mark.usefixtures("quick")
def test_paths_are_printed_as_they_are(sasrec, tmp_path, dpr_export):
    """Neither taken for markup nor broken over lines."""
    out = tmp_path / "[bold]a b[/nothing]" / ("long" * 30)
    code, stdout, _ = dpr_export(sasrec.folder, "--out", out, "--threads", 1)
    assert code == 0
    assert f"Bundle: {out}  (" in stdout
    assert f"{out}: expected a new folder" in dpr_export(sasrec.folder, "--out", out)[2]


@pytest.mark.usefixtures("quick")
def test_a_failed_comparison_exits_with_1_and_lists_the_rows(sasrec, out, dpr_export, monkeypatch):
    monkeypatch.setattr(validation, "SCORE_BOUND", -1.0)
    code, _, stderr = dpr_export(sasrec.folder, "--out", out, "--threads", 1)
    assert code == 1
    first, *rows = stderr.splitlines()
    assert first == "dpr-export: the exported graphs differ from PyTorch:"
    assert len(rows) == 2
    assert all(row.startswith("pipeline top-10, batch ") for row in rows)
    assert nothing_at(out)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--out"),
        (["--out", "PLACE", "--threads", "0"], "--threads"),
        (["--out", "PLACE", "--prompt-encoder", "fp16"], "--prompt-encoder"),
        (["--out", "PLACE", "--text-encoder", "int4"], "--text-encoder"),
        (["--out", "PLACE", "--text-encoder-from", "folder"], "--text-encoder-from"),
        (["--out", "PLACE", "--nothing"], "--nothing"),
    ],
)
def test_wrong_arguments_exit_with_2(sasrec, out, dpr_export, arguments, word):
    code, _, stderr = dpr_export(sasrec.folder, *(out if a == "PLACE" else a for a in arguments))
    assert code == 2
    assert stderr.startswith("Usage: ")
    assert word in stderr
    assert nothing_at(out)


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        change(values)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return damage


def edit_tensors(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name, {"format": "pt"})

    return damage


def edit_items(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        pq.write_table(change(pq.read_table(folder / "items.parquet")), folder / "items.parquet")

    return damage


def keep(name: str, share: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


# What is done to a checkpoint, and the words of which the message must have each.
DAMAGE = {
    **{
        f"no {name}": (remove(name), [name.split("/")[-1]])
        for name in (
            "config.json",
            "model.safetensors",
            "items.parquet",
            "examples.parquet",
            "training.json",
            "prompt_encoder/config.json",
            "prompt_encoder/model.safetensors",
            "prompt_encoder/tokenizer.json",
        )
    },
    **{
        f"torn {name}": (keep(name, 0.6), [name])
        for name in (
            "config.json",
            "model.safetensors",
            "items.parquet",
            "examples.parquet",
            "training.json",
            "prompt_encoder/model.safetensors",
            "prompt_encoder/tokenizer.json",
        )
    },
    "torn encoder config": (keep("prompt_encoder/config.json", 0.6), ["prompt_encoder"]),
    "empty model": (keep("model.safetensors", 0), ["model.safetensors"]),
    "format": (
        edit_json("config.json", lambda c: c.update(format="zip")),
        ["config.json", "dpr-checkpoint", "zip"],
    ),
    "version": (edit_json("config.json", lambda c: c.update(format_version=3)), ["config.json", "3"]),
    "unknown setting": (edit_json("config.json", lambda c: c.update(extra=1)), ["config.json", "extra"]),
    "unknown backbone setting": (
        edit_json("config.json", lambda c: c["backbone"].update(depth=3)),
        ["config.json", "backbone.depth"],
    ),
    "missing setting": (edit_json("config.json", lambda c: c.pop("n_items")), ["config.json", "n_items"]),
    "wrong kind": (
        edit_json("config.json", lambda c: c["backbone"].update(kind="rnn")),
        ["config.json", "backbone.kind"],
    ),
    "another width": (
        edit_json("config.json", lambda c: c["backbone"].update(dim=18)),
        ["model.safetensors", "backbone.item_embedding.weight"],
    ),
    "missing tensor": (
        edit_tensors("model.safetensors", lambda t: t.pop("biases")),
        ["model.safetensors", "biases"],
    ),
    "missing tensor of the prompt encoder": (
        edit_tensors("prompt_encoder/model.safetensors", lambda t: t.pop("embeddings.LayerNorm.bias")),
        ["model.safetensors", "embeddings.LayerNorm.bias"],
    ),
    "surplus tensor": (
        edit_tensors("model.safetensors", lambda t: t.update(more=torch.zeros(1))),
        ["model.safetensors", "more"],
    ),
    "fewer items": (edit_items(lambda items: items.slice(1)), ["items.parquet", "expected 36 rows, got 35"]),
    "no tags": (edit_items(lambda items: items.drop_columns(["tags"])), ["items.parquet", "tags"]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_checkpoints_are_told_in_one_line(copy, out, dpr_export, name):
    damage, words = DAMAGE[name]
    damage(copy)
    with pytest.raises(CheckpointError) as caught:
        export_bundle(copy, out)
    assert [word for word in words if word not in str(caught.value)] == []
    code, _, stderr = dpr_export(copy, "--out", out)
    assert code == 1
    assert stderr == f"dpr-export: {caught.value}\n"
    assert stderr.count("\n") == 1
    assert nothing_at(out)


def test_a_folder_that_is_no_checkpoint(out, tmp_path, dpr_export):
    code, _, stderr = dpr_export(tmp_path / "nowhere", "--out", out)
    assert code == 1
    assert stderr.startswith(
        f"dpr-export: {tmp_path / 'nowhere'}: expected a checkpoint with config.json, got none"
    )
    assert nothing_at(out)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("key", ["licence", "redistributable", "dataset", "data_sha256"])
def test_a_training_record_without_what_the_manifest_needs(copy, out, dpr_export, key):
    edit_json("training.json", lambda training: training.pop(key))(copy)
    code, _, stderr = dpr_export(copy, "--out", out)
    assert code == 1
    assert stderr.startswith("dpr-export: ")
    assert stderr.count("\n") == 1
    assert "training.json" in stderr
    assert key in stderr
    assert nothing_at(out)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.set_column(0, "item_id", pa.array(["same"] * len(t))), ["items.parquet", "item_id"]),
        (lambda t: t.drop_columns(["title"]), ["items.parquet", "title"]),
    ],
    ids=["ids not unique", "no titles"],
)
def test_items_that_the_runtime_would_refuse(copy, out, dpr_export, change, words):
    edit_items(change)(copy)
    code, _, stderr = dpr_export(copy, "--out", out)
    assert code == 1
    assert stderr.startswith("dpr-export: ")
    assert [word for word in words if word not in stderr] == []
    assert nothing_at(out)
