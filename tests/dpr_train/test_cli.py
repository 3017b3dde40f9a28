# dpr-train from the outside: one clear line an error, exit codes, and one real run.

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dpr_train import cli
from dpr_train.checkpoint import load_checkpoint
from dpr_train.config import TrainConfig
from dpr_train.prompt_encoder import HEAD_FILE
from dpr_train.run import RunError

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


def test_a_trained_encoder_is_taken_with_the_layers_that_it_has(
    dpr_train: Run, tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[TrainConfig] = []

    def stop(_data: object, settings: TrainConfig, *_: object, **__: object) -> None:
        taken.append(settings)
        raise RunError("that will do")

    monkeypatch.setattr(cli, "train", stop)
    monkeypatch.setattr(cli, "fetch_minilm", lambda _: encoder_folder)
    student = Path(shutil.copytree(encoder_folder, tmp_path / "student"))
    arguments = ["--dataset", "synthetic", "--out", tmp_path / "out", "--prompt-encoder"]
    assert dpr_train(*arguments, student)[0] == 1
    (student / HEAD_FILE).touch()
    assert dpr_train(*arguments, student)[0] == 1
    assert [(s.prompt_encoder.layers, s.prompt_encoder.tuned_layers) for s in taken] == [(4, 4), (2, 2)]
    (student / "config.json").write_text("{}")
    code, _, error = dpr_train(*arguments, student)
    assert code == 1
    assert "expected num_hidden_layers" in error


def test_distilling_takes_the_encoder_that_ships(
    dpr_train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[tuple[object, ...], dict[str, Any]]] = []
    monkeypatch.setattr(cli, "distill_prompt_encoder", lambda *a, **kw: calls.append((a, kw)))
    monkeypatch.setattr(cli, "shipped_prompt_encoder", lambda cache: cache / "shipped")
    monkeypatch.setattr(cli, "pack_prompt_encoder", lambda _folder, _out: 1_200_000)
    command = ["distill-prompt-encoder", "--out", tmp_path / "student", "--cache-dir", tmp_path]
    code, output, _ = dpr_train(*command, "--steps", 3, "--layers", "0,1,3", "--pack", tmp_path / "s.zip")
    assert code == 0
    (teacher, out, _, stage), options = calls[0]
    assert (teacher, out, stage.steps) == (tmp_path / "shipped", tmp_path / "student", 3)
    assert (options["layers"], options["seed"], options["threads"]) == ((0, 1, 3), 0, 1)
    assert "Packed: " in output
    assert "(1.2 MB)" in output
    assert dpr_train(*command, "--teacher", tmp_path / "mine")[0] == 0
    assert (calls[1][0][0], calls[1][0][3].steps, calls[1][1]["layers"]) == (tmp_path / "mine", 1200, (0, 3))

    code, _, error = dpr_train(*command, "--layers", "0;3")
    assert code == 2
    assert "expected numbers such as 0,3" in error
    assert len(calls) == 2


def test_an_untrained_teacher_is_one_line(dpr_train: Run, tmp_path: Path, encoder_folder: Path) -> None:
    code, _, error = dpr_train(
        "distill-prompt-encoder", "--out", tmp_path / "student", "--teacher", encoder_folder
    )
    assert code == 1
    assert (
        error == f"dpr-train: {encoder_folder}: expected a trained prompt encoder, got one without a head\n"
    )
