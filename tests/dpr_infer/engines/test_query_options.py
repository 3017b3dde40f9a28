# dpr-query runs the engine that is asked for, and says what runs.

from __future__ import annotations

import json
import sys

import pytest

from dpr_infer.cli import launch

CPU = "CPUExecutionProvider"


@pytest.fixture
def dpr_query(monkeypatch, capsys):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dpr-query", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            launch("dpr_infer.cli.query_command")
        output = capsys.readouterr()
        return left.value.code, output.out, output.err

    return run


@pytest.mark.parametrize(
    "options",
    [(), ("--provider", CPU), ("--provider", "CUDAExecutionProvider", "--provider", CPU, "--allow-fallback")],
)
def test_json_says_what_runs(dpr_query, bundle_path, recommender, options):
    code, out, _ = dpr_query(bundle_path, "--history", "", "--prompt", "comedy", "--json", *options)
    assert code == 0
    assert json.loads(out)["providers"] == {name: [CPU] for name in recommender.manifest.graphs}


def test_openvino(dpr_query, bundle_path):
    pytest.importorskip("openvino")
    code, out, _ = dpr_query(
        bundle_path, "--history", "", "--json", "--engine", "openvino", "--precision", "fp32"
    )
    assert code == 0
    assert set(map(tuple, json.loads(out)["providers"].values())) == {("OpenVINO CPU fp32",)}


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--provider", "NoSuchProvider"), 1, "providers must be out of"),
        (("--engine", "torch"), 2, "engine must be one of"),
        (("--precision", "fp16"), 2, "precision with the engine onnxruntime must be None"),
        (("--engine", "openvino", "--provider", CPU), 2, "belong to engine"),
    ],
)
def test_what_does_not_fit_is_one_line(dpr_query, bundle_path, options, code, words):
    got, out, err = dpr_query(bundle_path, "--json", *options)
    assert (got, out) == (code, "")
    assert words in err
    assert len(err.splitlines()) == 1
