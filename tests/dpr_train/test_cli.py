# dpr-train from the outside: one clear line an error, exit codes, and one real run.

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dpr_train import cli
from dpr_train.checkpoint import load_checkpoint

Run = Callable[..., tuple[int, str, str]]

FEW_STEPS = {
    "backbone": {"dim": 16},
    "prompt_encoder": {"max_tokens": 32, "layers": 2, "tuned_layers": 1, "head_dim": 16},
    "steering": {"text_dim": 4},
    "stage1": {"epochs": 1},
    "stage2": {"steps": 5, "domains": []},
    "stage3": {"epochs": 1, "prompts": 30},
}


@pytest.fixture
def dpr_train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dpr-train", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def write_config(folder: Path, content: object) -> Path:
    path = folder / "settings.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_no_output_folder(dpr_train: Run) -> None:
    code, _, error = dpr_train("--dataset", "synthetic")
    assert code == 2
    assert "--out" in error
    assert "expected a folder for the checkpoint, got none" in " ".join(error.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [["--backbone", "lstm"], ["--seed", "many"], ["--nonsense"]])
def test_wrong_arguments(dpr_train: Run, tmp_path: Path, arguments: list[str]) -> None:
    code, _, error = dpr_train("--out", tmp_path / "out", *arguments)
    assert code == 2
    assert arguments[0] in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"stage1": ', "settings.json: expected JSON, got Expecting value"),
        ("[1]", "settings.json: expected a JSON object of settings, got list"),
        ({"stage1": {"epoch": 5}}, "stage1.epoch: Extra inputs are not permitted, got 5"),
        ({"stages": {}}, "stages: Extra inputs are not permitted, got {}"),
        ({"stage1": {"epochs": 0}}, "stage1.epochs: Input should be greater than or equal to 1, got 0"),
        ({"stage1": 3}, "stage1: "),
        ({"backbone": {"heads": 7}}, "expected a multiple of backbone.heads = 7"),
    ],
)
def test_bad_settings_are_one_line(dpr_train: Run, tmp_path: Path, content: object, message: str) -> None:
    settings = write_config(tmp_path, content)
    code, _, error = dpr_train("--dataset", "synthetic", "--out", tmp_path / "out", "--config", settings)
    assert code == 1
    assert message in error
    assert error.startswith("dpr-train: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "ml-2m"], "no such data set"),
        (["--dataset", "synthetic", "--config", "nowhere.json"], "nowhere.json"),
        (["--dataset", "synthetic", "--config", "."], "Is a directory"),
        (
            ["--dataset", "synthetic", "--prompt-encoder", "nowhere"],
            "expected a Hugging Face encoder with config.json",
        ),
    ],
)
def test_missing_inputs_are_one_line(
    dpr_train: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, _, error = dpr_train("--out", tmp_path / "out", *arguments)
    assert code == 1
    assert message in error
    assert error.startswith("dpr-train: ")
    assert error.count("\n") == 1


def test_train_then_evaluate(dpr_train: Run, tmp_path: Path, encoder_folder: Path) -> None:
    out = tmp_path / "out"
    settings = write_config(tmp_path, FEW_STEPS)
    arguments = ["--dataset", "synthetic", "--out", out, "--prompt-encoder", encoder_folder, "--threads", 1]
    arguments += ["--config", settings, "--seed", 4, "--backbone", "gru4rec"]
    code, output, error = dpr_train(*arguments)
    assert (code, error) == (0, "")
    for expected in (
        "synthetic",
        "users: 200 of 200",
        "backbone: valid_hr@10",
        "exact filter",
        "Checkpoint: ",
    ):
        assert expected in output
    checkpoint = load_checkpoint(out)
    config = checkpoint.training["config"]
    assert (config["seed"], config["threads"], config["stage2"]["steps"]) == (4, 1, 5)
    assert config["stage2"]["batch_size"] == 32  # the preset's, where the file says nothing
    assert config["backbone"] | {"kind": "gru4rec", "dim": 16, "max_history": 20} == config["backbone"]

    code, _, error = dpr_train(*arguments)
    assert code == 1
    assert "holds a finished checkpoint" in error

    results, table = tmp_path / "results.json", tmp_path / "results.md"
    again = ["evaluate", out, "--dataset", "synthetic", "--seed", 4, "--threads", 1]
    code, output, error = dpr_train(*again, "--json", results, "--markdown", table)
    assert (code, error) == (0, "")
    assert "synthetic, test split" in output
    assert json.loads(results.read_text(encoding="utf-8")) == checkpoint.training["metrics"]["test"]
    assert table.read_text(encoding="utf-8").count("\n") == 2 + len(checkpoint.training["metrics"]["test"])


def test_evaluating_on_other_data_or_on_nothing(
    dpr_train: Run, checkpoint_folder: Path, tmp_path: Path
) -> None:
    code, _, error = dpr_train("evaluate", checkpoint_folder, "--dataset", "synthetic")
    assert code == 1
    assert "was trained on synthetic with checksum" in error
    code, _, error = dpr_train("evaluate", tmp_path, "--dataset", "synthetic")
    assert code == 1
    assert "expected a checkpoint with config.json, got none" in error


def test_an_interrupt_says_how_to_go_on(
    dpr_train: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder_folder: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "train", interrupted)
    code, _, error = dpr_train(
        "--dataset", "synthetic", "--out", tmp_path, "--prompt-encoder", encoder_folder
    )
    assert code == 130
    assert "the same command, without --restart, goes on from the last saved epoch" in error
