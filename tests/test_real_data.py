# A slice of MovieLens-100K through the whole path, with the prompt encoder that ships: train, export, ask. It shows
# that steering works on real films, not how well; docs/results.md has the figures of a whole training.
from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommender
from dpr_train.config import BackboneStage, SteeringStage, TrainConfig
from dpr_train.data import Dataset, load_dataset
from dpr_train.encoder_package import shipped_prompt_encoder
from dpr_train.encoders import fetch_minilm
from dpr_train.evaluate import ResultRow
from dpr_train.run import train

pytestmark = pytest.mark.slow

_USERS = 150


@pytest.fixture(scope="module")
def data(cache_dir: Path) -> Dataset:
    whole = load_dataset("ml-100k", cache_dir=cache_dir)
    return dataclasses.replace(whole, user_ids=whole.user_ids[:_USERS], sequences=whole.sequences[:_USERS])


@pytest.fixture(scope="module")
def trained(
    data: Dataset, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[ResultRow]]:
    out = tmp_path_factory.mktemp("ml-100k") / "run"
    config = TrainConfig(
        threads=1,  # other tests run beside this one
        stage1=BackboneStage(epochs=4),
        stage3=SteeringStage(epochs=1, prompts=500),
    )
    encoder, texts = shipped_prompt_encoder(cache_dir), fetch_minilm(cache_dir)
    return out, train(data, config, out, encoder_folder=encoder, text_folder=texts)


def _row(rows: list[ResultRow], task: str, system: str, wording: str = "-") -> ResultRow:
    (row,) = [r for r in rows if (r.task, r.system, r.wording) == (task, system, wording)]
    return row


def test_steering_obeys_where_the_backbone_cannot(trained: tuple[Path, list[ResultRow]]) -> None:
    _, rows = trained
    asked, plain = _row(rows, "positive", "steering", "seen"), _row(rows, "positive", "backbone")
    assert asked.precision is not None
    assert plain.precision is not None
    assert asked.precision > 2 * plain.precision
    assert asked.ndcg > plain.ndcg
    refused, plain = _row(rows, "negative", "steering", "seen"), _row(rows, "negative", "backbone")
    assert refused.violation is not None
    assert plain.violation is not None
    assert refused.violation < min(0.1, plain.violation)


def test_the_bundle_steers_like_the_model(
    trained: tuple[Path, list[ResultRow]], data: Dataset, tmp_path: Path
) -> None:
    checkpoint, _ = trained
    export_bundle(checkpoint, tmp_path / "bundle", precision="int8")
    recommender = Recommender(tmp_path / "bundle")
    assert len(recommender.items.titles) == data.n_items

    histories = list(recommender.examples.values())
    shares = []
    for prompt in (None, "I want horror"):
        answers = recommender.query_batch(histories, prompt, k=10)
        tags = [item for answer in answers for item in answer.tags]
        shares.append(sum("Horror" in item for item in tags) / len(tags))
    assert shares[1] > shares[0]
    strict = recommender.query(histories[0], "no drama please", steer="strict")
    assert [wish.tag for wish in strict.wishes if wish.refused >= 0.5] == ["Drama"]
    assert all("Drama" not in item for item in strict.tags)
