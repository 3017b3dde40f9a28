# A checkpoint trained for seconds, its bundle with prompt encoders of both precisions, and what is asked of it.
from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tiny_model
from dpr_bench.latency.contenders import Models
from dpr_bench.latency.plain_graphs import export_plain_graphs
from dpr_bench.latency.questions import Questions, ask_examples
from dpr_export.quantize import quantize_prompt_encoder
from dpr_export.write_bundle import export_bundle
from dpr_infer.bundle import open_bundle
from dpr_infer.bundle_folder import seal
from dpr_train.checkpoint import load_checkpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("latency")
    checkpoint = tiny_model.tiny_checkpoint(folder / "checkpoint", phi="softplus")
    export_bundle(checkpoint, folder / "float32")
    export_plain_graphs(load_checkpoint(checkpoint).model, folder / "plain")
    return Models(
        bundle=_quantised(folder / "float32", folder / "int8"),
        float32=folder / "float32",
        plain_graphs=folder / "plain",
        checkpoint=checkpoint,
    )


def _quantised(float32: Path, out: Path) -> Path:
    """What `export_bundle` would write with precision="int8", without exporting and comparing all of it again."""
    shutil.copytree(float32, out)
    quantize_prompt_encoder(out / "prompt_encoder.onnx")
    manifest = json.loads((out / "manifest.json").read_bytes())
    manifest["prompt_encoder"]["precision"] = "int8"
    seal(out, manifest)
    return out


@pytest.fixture(scope="session")
def questions(models: Models) -> Questions:
    return ask_examples(open_bundle(models.float32))
