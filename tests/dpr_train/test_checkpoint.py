# A checkpoint is whole and readable, or the error says which file is not.

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from dpr_train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint
from tiny_model import tiny_dataset

FILES = (
    "config.json",
    "model.safetensors",
    "items.parquet",
    "examples.parquet",
    "training.json",
    "prompt_encoder/config.json",
    "prompt_encoder/model.safetensors",
    "prompt_encoder/tokenizer.json",
    "prompt_encoder/understanding.safetensors",
)


@pytest.fixture
def copy(checkpoint_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))


def test_holds_what_the_format_says_and_nothing_else(checkpoint_folder: Path, checkpoint: Checkpoint) -> None:
    found = {
        str(path.relative_to(checkpoint_folder)) for path in checkpoint_folder.rglob("*") if path.is_file()
    }
    assert found == set(FILES)
    dataset = tiny_dataset()
    assert checkpoint.items.column_names == ["item_id", "title", "tags"]
    assert tuple(checkpoint.items["item_id"].to_pylist()) == dataset.items.ids
    assert checkpoint.examples.column_names == ["name", "history"]
    assert not checkpoint.model.training
    np.testing.assert_array_equal(checkpoint.model.tag_matrix.numpy() > 0, dataset.tag_matrix)
    assert checkpoint.training["data_sha256"] == dataset.source_sha256
    assert checkpoint.training["redistributable"] is True
    assert checkpoint.training["config"]["seed"] == 0


def test_saving_again_changes_no_tensor(
    checkpoint: Checkpoint, checkpoint_folder: Path, tmp_path: Path
) -> None:
    examples = [(row["name"], row["history"]) for row in checkpoint.examples.to_pylist()]
    folder = tmp_path / "again"
    save_checkpoint(
        folder,
        checkpoint.model,
        checkpoint_folder / "prompt_encoder",
        checkpoint.items,
        examples,
        checkpoint.training,
    )
    for name in FILES:
        if name != "items.parquet":  # its schema grows by what reading adds
            assert (folder / name).read_bytes() == (checkpoint_folder / name).read_bytes(), name
    assert load_checkpoint(folder).items.equals(checkpoint.items)
    assert not (folder / ".partial").exists()


def test_saving_over_a_checkpoint_and_over_a_torn_attempt(
    checkpoint: Checkpoint, checkpoint_folder: Path, copy: Path
) -> None:
    (copy / ".partial").mkdir()
    (copy / ".partial" / "config.json").write_text("{")
    (copy / "notes.txt").write_text("mine")
    (copy / "prompt_encoder" / "old.bin").write_text("old")
    save_checkpoint(copy, checkpoint.model, checkpoint_folder / "prompt_encoder", checkpoint.items, [], {})
    assert load_checkpoint(copy).training == {}
    assert (copy / "notes.txt").read_text() == "mine"
    assert not (copy / "prompt_encoder" / "old.bin").exists()
    assert not (copy / ".partial").exists()


def test_a_save_that_breaks_off_leaves_nothing_that_looks_whole(
    checkpoint: Checkpoint, checkpoint_folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def full_disk(self: Path, target: Path) -> Path:
        if self.name == "items.parquet":
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(
            copy, checkpoint.model, checkpoint_folder / "prompt_encoder", checkpoint.items, [], {}
        )
    with pytest.raises(CheckpointError, match=r"expected a checkpoint with config\.json, got none"):
        load_checkpoint(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=name.rpartition("/")[2]):
        load_checkpoint(copy)


@pytest.mark.parametrize("keep", [0, 0.5, 0.97])
@pytest.mark.parametrize("name", FILES)
def test_a_torn_file_is_named(copy: Path, name: str, keep: float) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=name.partition("/")[0]) as error:
        load_checkpoint(copy)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a checkpoint with config\.json, got none"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "bert"},
            "expected {'format': 'dpr-checkpoint', 'format_version': 2}, got {'format': 'bert'",
        ),
        ({"format_version": 3}, "got {'format': 'dpr-checkpoint', 'format_version': 3}"),
        ({"n_items": 35}, "expected 35 rows, got 36"),
        ({"surprise": 1}, "surprise"),
        ({"prompt_encoder": {"max_tokens": 32, "layers": 2, "head_dim": 16}}, "understanding.safetensors"),
        ({"prompt_encoder": {"max_tokens": 32, "layers": 3, "head_dim": 32}}, "the encoder has 2"),
        ({"tags": ["comedy", "horror"]}, "size mismatch for tag_parts"),
    ],
)
def test_a_configuration_that_does_not_fit(copy: Path, change: dict[str, object], message: str) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(copy)
    assert message in str(error.value)


@pytest.mark.parametrize("content", ["[1, 2]", "null", "7"])
def test_a_configuration_that_is_no_object(copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_checkpoint(copy)


def test_missing_and_unknown_tensors_are_named(copy: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    kept = tensors.pop("biases")
    save_file(tensors, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing tensors \['biases'\], unexpected \[\]"):
        load_checkpoint(copy)
    save_file(tensors | {"biases": kept, "stowaway": kept.clone()}, copy / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing tensors \[\], unexpected \['stowaway'\]"):
        load_checkpoint(copy)


def test_an_encoder_without_one_of_its_weights_is_refused(copy: Path) -> None:
    path = copy / "prompt_encoder" / "model.safetensors"
    tensors = load_file(path)
    gone = "encoder.layer.1.output.dense.weight"
    del tensors[gone]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=gone):
        load_checkpoint(copy)


def test_items_without_tags_column(copy: Path) -> None:
    items = pq.read_table(copy / "items.parquet")
    pq.write_table(items.drop_columns(["tags"]), copy / "items.parquet")
    with pytest.raises(CheckpointError, match=r"items\.parquet.*tags"):
        load_checkpoint(copy)
