# The indexes that an export adds: the quantised one always, the HNSW one when it is asked for.

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dpr_export import hnsw as hnsw_export
from dpr_export import write_bundle
from dpr_export.cli import main
from dpr_export.hnsw import HnswSettings
from dpr_export.write_bundle import export_bundle
from dpr_infer import BundleError, MissingExtraError, Recommender
from dpr_infer._core import build_index


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def test_the_index_is_that_of_the_vectors(made):
    config = made.checkpoint.model.config
    parts = [config.backbone.dim, config.steering.side_dim]
    tensors = load_file(made.bundle / "catalogue.safetensors")
    expected = build_index(tensors["vectors"], parts=parts)
    for name, array in expected.items():
        assert tensors[f"index.{name}"].tobytes() == array.tobytes(), name
    entry = manifest_of(made.bundle)["index"]
    assert entry["parts"] == parts
    assert (entry["blocks"], entry["clusters"]) == (len(expected["codes"]), len(expected["centres"]))
    assert entry["code_error"] == expected["bounds"][:, 1].max(axis=1).tolist()


def test_an_index_that_does_not_hold_is_not_exported(sasrec, tmp_path, monkeypatch, quick):
    write = write_bundle.write_catalogue

    def tamper(tensors, path):
        tensors["index.bounds"][:, 3] *= 0.5  # norms
        write(tensors, path)

    monkeypatch.setattr(write_bundle, "write_catalogue", tamper)
    with pytest.raises(BundleError, match=r"^catalogue\.safetensors: "):
        export_bundle(sasrec.folder, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_hnsw_is_there_only_when_asked_for(made):
    assert "hnsw" not in manifest_of(made.bundle)
    assert not (made.bundle / "index.hnsw").exists()


def test_hnsw_answers(with_hnsw, wide):
    recommender = Recommender(with_hnsw, verify="full", index="hnsw", ef=4)
    for history in ([], *recommender.examples.values()):
        for prompt in (None, "comedy please"):
            exact = wide.recommender.query(history, prompt, k=130)
            answer = recommender.query(history, prompt, k=2)
            assert set(answer.items) <= set(exact.items)
            places = [exact.items.index(item) for item in answer.items]
            np.testing.assert_allclose(answer.scores, exact.scores[places], rtol=1e-5, atol=1e-5)


def test_the_manifest_says_how_hnsw_was_built_and_what_was_measured(with_hnsw, wide):
    entry = manifest_of(with_hnsw)["hnsw"]
    assert (entry["m"], entry["ef_construction"]) == (2, 3)
    n_examples = len(wide.recommender.examples)
    tags = wide.checkpoint.model.config.tags
    assert entry["measured_on"]["examples"] == n_examples
    assert entry["measured_on"]["drawn"] == 64 - n_examples
    assert entry["measured_on"]["prompts"] == [
        f"Something with {tags[0]}, please.",
        f"Something with {tags[1]}, please.",
    ] + [f"no {tag}" for tag in tags[2:4]]
    rows = [(row["queries"], row["k"], row["ef"]) for row in entry["recall"]]
    assert rows == [("plain", 2, 2), ("steered", 2, 2), ("plain", 2, 130), ("steered", 2, 130)]
    shares = [row["recall"] for row in entry["recall"]]
    assert 0 < shares[0] < 1
    assert shares[2:] == [1.0, 1.0]  # a view of everything


def test_recall_is_the_share_of_the_exact_answer():
    share = hnsw_export._share
    exact = np.array([[3, 1, 2], [4, 5, -1]])
    assert share(exact, exact) == 1.0
    assert share(np.array([[1, 2, 9], [8, -1, -1]]), exact) == pytest.approx(2 / 5)
    assert share(np.array([[-1, -1, -1]] * 2), exact) == 0.0


def test_the_same_checkpoint_gives_the_same_index(with_hnsw, wide, tmp_path):
    vectors = load_file(with_hnsw / "catalogue.safetensors")["vectors"]
    hnsw_export.write_hnsw(vectors, HnswSettings(m=2, ef_construction=3), tmp_path)
    assert (tmp_path / "index.hnsw").read_bytes() == (with_hnsw / "index.hnsw").read_bytes()
    for name in ("catalogue.safetensors", "items.parquet"):
        assert (wide.bundle / name).read_bytes() == (with_hnsw / name).read_bytes()


def test_without_the_package_nothing_is_begun(sasrec, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    told = []
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[hnsw\]"):
        export_bundle(sasrec.folder, tmp_path / "bundle", hnsw=HnswSettings(), say=told.append)
    assert told == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write_hnsw", "measure_recall"])
def test_an_error_in_the_middle_leaves_nothing(sasrec, tmp_path, monkeypatch, quick, step):
    def fail(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(write_bundle, step, fail)
    with pytest.raises(RuntimeError, match="out of luck"):
        export_bundle(sasrec.folder, tmp_path / "bundle", hnsw=HnswSettings())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def command(monkeypatch, capsys, sasrec, tmp_path):
    """Run dpr-export; give exit code and stderr, and the settings that it passed on."""
    passed = []
    monkeypatch.setattr(
        "dpr_export.cli.export_bundle", lambda *_, **options: passed.append(options["hnsw"]) or []
    )
    monkeypatch.setattr("dpr_export.cli._report", lambda *_: None)  # there is no bundle to report of
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)

    def run(*arguments):
        (tmp_path / "out").mkdir(exist_ok=True)
        names = ["dpr-export", str(sasrec.folder), "--out", str(tmp_path / "out"), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", names)
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, capsys.readouterr().err, passed

    return run


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], None),
        (["--index", "exact"], None),
        (["--index", "hnsw"], HnswSettings(m=16, ef_construction=200)),
        (["--index", "hnsw", "--hnsw-m", 24], HnswSettings(m=24)),
        (["--index", "hnsw", "--hnsw-ef-construction", 90], HnswSettings(ef_construction=90)),
    ],
)
def test_command_line(command, arguments, settings):
    assert command(*arguments) == (0, "", [settings])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--hnsw-m", 16], "--index hnsw"),
        (["--hnsw-ef-construction", 100, "--index", "exact"], "--index hnsw"),
        (["--index", "ivf"], "--index"),
        (["--index", "hnsw", "--hnsw-m", 1], "--hnsw-m"),
        (["--index", "hnsw", "--hnsw-ef-construction", 0], "--hnsw-ef-construction"),
    ],
)
def test_wrong_arguments(command, arguments, word):
    code, err, passed = command(*arguments)
    assert (code, passed) == (2, [])
    assert word in err
