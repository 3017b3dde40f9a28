# A checkpoint trained for seconds, its bundle with an int8 prompt encoder, and what is asked of it.
from __future__ import annotations

import pytest

import tiny_model
from dpr_bench.latency.contenders import Models
from dpr_bench.latency.plain_graphs import export_plain_graphs
from dpr_bench.latency.questions import Questions, ask_examples
from dpr_export.write_bundle import export_bundle
from dpr_infer.bundle import open_bundle
from dpr_train.checkpoint import load_checkpoint


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("latency")
    checkpoint = tiny_model.tiny_checkpoint(folder / "checkpoint", phi="softplus")
    export_bundle(checkpoint, folder / "int8", precision="int8")
    export_bundle(checkpoint, folder / "float32")
    export_plain_graphs(load_checkpoint(checkpoint).model, folder / "plain")
    return Models(
        bundle=folder / "int8",
        float32=folder / "float32",
        plain_graphs=folder / "plain",
        checkpoint=checkpoint,
    )


@pytest.fixture(scope="session")
def questions(models: Models) -> Questions:
    return ask_examples(open_bundle(models.float32))
