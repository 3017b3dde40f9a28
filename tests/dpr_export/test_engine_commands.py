# dpr-export for a bundle that there is: --engine and --triton, and what of the other options is out of place.

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import fake_tensorrt
from dpr_export.cli import main
from dpr_infer import Recommender
from tiny_bundle import write_tiny_bundle


@pytest.fixture(autouse=True)
def _same_threads():
    """The command line sets torch's threads for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bundle(tmp_path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny", version=4)


@pytest.fixture
def dpr_export(monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Run the command line; give its exit code and what it wrote to stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dpr-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def test_engines_for_a_bundle(bundle, dpr_export, monkeypatch):
    tensorrt, _ = fake_tensorrt.install(monkeypatch)
    code, stdout, stderr = dpr_export(
        bundle, "--engine", "tensorrt", "--engine-precision", "fp16", "--max-batch", 3
    )
    assert (code, stderr) == (0, "")
    plans = [line.removeprefix("Plan: ") for line in stdout.splitlines() if line.startswith("Plan: ")]
    assert len(plans) == 4
    assert all(Path(plan).is_file() and "-fp16-" in plan for plan in plans)
    assert [profile.shapes["items"][2][0] for profile in tensorrt.configs[0].profiles] == [1, 3]
    assert Recommender(bundle, engine="tensorrt", precision="fp16").query([], "comedy").items


def test_a_repository_for_a_bundle(bundle, dpr_export, tmp_path):
    out = tmp_path / "models"
    code, stdout, _ = dpr_export(bundle, "--triton", out, "--max-batch", 3)
    assert code == 0
    assert stdout == f"Model repository: {out}\n"
    assert "max_batch_size: 3" in (out / "dpr_recommender" / "config.pbtxt").read_text()
    code, _, stderr = dpr_export(bundle, "--triton", out)
    assert code == 1
    assert "--force replaces it" in stderr
    assert dpr_export(bundle, "--triton", out, "--force")[0] == 0


@pytest.mark.usefixtures("quick")
def test_all_at_once_from_a_checkpoint(sasrec, tmp_path, dpr_export, monkeypatch):
    fake_tensorrt.install(monkeypatch)
    out, models = tmp_path / "bundle", tmp_path / "models"
    code, stdout, _ = dpr_export(sasrec.folder, "--out", out, "--engine", "tensorrt", "--triton", models)
    assert code == 0
    order = [stdout.index(text) for text in (f"Bundle: {out}", "Plan: ", "Model repository: ")]
    assert order == sorted(order)
    assert Recommender(out, engine="tensorrt", verify="full").query([], "no horror", k=2).items
    assert not (models / "dpr_recommender" / "1" / "bundle" / "engines").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "with a bundle, give --engine or --triton"),
        (("--engine-precision", "fp16"), "--engine-precision needs --engine tensorrt"),
        (("--max-batch", 3), "--max-batch needs --engine tensorrt or --triton"),
        (("--triton", "models", "--out", "x"), "--out: for a checkpoint"),
        (("--triton", "models", "--prompt-encoder", "int8"), "--prompt-encoder: for a checkpoint"),
        (("--triton", "models", "--backbone", "int8"), "--backbone: for a checkpoint"),
        (("--triton", "models", "--index", "hnsw"), "--index: for a checkpoint"),
        (("--engine", "openvino"), "openvino"),
    ],
)
def test_options_out_of_place(bundle, dpr_export, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    code, _, stderr = dpr_export(bundle, *options)
    assert code == 2
    assert words in " ".join(stderr.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_checkpoint_needs_a_place(sasrec, dpr_export):
    code, _, stderr = dpr_export(sasrec.folder)
    assert code == 2
    assert "give --out" in stderr


def test_what_cannot_be_done_is_told_before_the_work(sasrec, dpr_export, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    out = tmp_path / "bundle"
    code, stdout, stderr = dpr_export(sasrec.folder, "--out", out, "--engine", "tensorrt")
    assert (code, stdout) == (1, "")
    assert "dpr-infer[tensorrt]" in stderr
    (tmp_path / "taken").mkdir()
    code, stdout, stderr = dpr_export(sasrec.folder, "--out", out, "--triton", tmp_path / "taken")
    assert (code, stdout) == (1, "")
    assert "left untouched" in stderr
    assert not out.exists()


def test_a_folder_that_only_looks_like_a_bundle(tmp_path, dpr_export):
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    code, _, stderr = dpr_export(folder, "--triton", tmp_path / "models")
    assert code == 1
    assert "manifest.json" in stderr
    shutil.rmtree(folder)
