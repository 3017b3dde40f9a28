# A prompt encoder trained by itself: what it begins from, what it leaves, and how the threshold of lifting is chosen.

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from dpr_train import train_encoder
from dpr_train.config import PromptEncoderConfig, UnderstandingStage
from dpr_train.prompt_encoder import (
    HEAD_FILE,
    PromptEncoder,
    build_prompt_encoder,
    is_trained,
    load_tokenizer,
    save_prompt_encoder,
)
from dpr_train.stages.resumable import Metrics
from dpr_train.train_encoder import choose_lift, train_prompt_encoder
from dpr_train.weight_codes import round_embeddings

CONFIG = PromptEncoderConfig(base="random", max_tokens=16, head_dim=8, layers=2, tuned_layers=1)
STAGE = UnderstandingStage(steps=2, batch_size=8, domains=("genres",), checkpoint_every=2)
LOWER = "encoder.layer.0.output.dense.weight"  # frozen in training
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def base(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained encoder, as wide as a group of the word embeddings' scales. Read only."""
    return _made(encoder_folder, tmp_path_factory.mktemp("base"), seed=0)


def _made(encoder_folder: Path, out: Path, seed: int) -> Path:
    config = BertConfig(
        vocab_size=load_tokenizer(encoder_folder, 16).get_vocab_size(), hidden_size=64, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = PromptEncoder(BertModel(config, add_pooling_layer=False), CONFIG)
    round_embeddings(encoder)
    save_prompt_encoder(out, encoder, encoder_folder / "tokenizer.json", {"seed": seed})
    (out / HEAD_FILE).unlink()
    return out


@pytest.fixture(autouse=True)
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure on next to nothing: these trainings teach nothing anyway."""
    monkeypatch.setattr(train_encoder, "_MEASURED", 4)


def test_a_training_goes_on_from_a_trained_encoder(encoder_folder: Path, base: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    reports: list[tuple[str, dict[str, float]]] = []
    train_prompt_encoder(
        base, first, CONFIG, STAGE, seed=3, threads=1, report=lambda *told: reports.append(told)
    )
    assert is_trained(first)
    record = json.loads((first / "training.json").read_text(encoding="utf-8"))
    assert (record["seed"], record["base"], record["began"]) == (3, "random", None)
    assert record["config"]["stage2"]["steps"] == 2
    assert reports == [("understanding", record["metrics"][-1])]
    chosen = load_file(first / HEAD_FILE)["lift_above"]
    assert record["metrics"][-1]["lift_above"] == chosen
    assert chosen in train_encoder._LIFTS
    assert {"templates_ask", "words_neutral", "text_none"} <= record["metrics"][-1].keys()

    # From weights that differ from the base's, where training changes nothing, too.
    start = _made(encoder_folder, tmp_path / "start", seed=1)
    trained = build_prompt_encoder(CONFIG, start)
    trained.head.reader.content.weight.data.mul_(3.0)
    save_prompt_encoder(start, trained, start / "tokenizer.json", {"seed": 8})
    train_prompt_encoder(base, second, CONFIG, STAGE, seed=3, threads=1, start=start)
    files = {folder: load_file(folder / "model.safetensors") for folder in (base, start, second)}
    for frozen in (LOWER, WORDS):
        assert torch.equal(files[second][frozen], files[start][frozen])
        assert not torch.equal(files[second][frozen], files[base][frozen])
    heads = {folder: load_file(folder / HEAD_FILE)["reader.content.weight"] for folder in (start, second)}
    torch.testing.assert_close(heads[second], heads[start], rtol=0, atol=0.1)  # two small steps away
    assert not torch.equal(heads[second], heads[start])
    record = json.loads((second / "training.json").read_text(encoding="utf-8"))
    assert record["began"] == {"seed": 8}
    assert (second / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("right", "best"),
    [
        ({-7.0: 0.2, -5.0: 0.9, -3.0: 0.8}, -5.0),
        ({0.0: 0.6}, 0.0),
        ({-6.0: 0.7, -4.0: 0.7}, -4.0),  # of equals the one that lifts least
        ({}, 0.0),
    ],
)
def test_the_threshold_is_the_one_that_most_prompts_are_understood_with(
    base: Path, monkeypatch: pytest.MonkeyPatch, right: dict[float, float], best: float
) -> None:
    encoder, tokenizer = build_prompt_encoder(CONFIG, base), load_tokenizer(base, 16)
    tried = []

    def measure(encoder: PromptEncoder, *_: object) -> Metrics:
        above = float(encoder.head.lift_above)
        tried.append(above)
        # What isn't about being right must not count, neither for nor against.
        astray = {"templates_polarity": 9.0 * (above == -2.0), "words_reversed": 9.0 * (above == -7.0)}
        return {"words_ask": right.get(above, 0.1), "text_none": 0.5} | astray

    monkeypatch.setattr(train_encoder, "_measure", measure)
    assert choose_lift(encoder, tokenizer, {}) == best
    assert encoder.head.lift_above == best
    assert sorted(tried) == sorted(train_encoder._LIFTS)


def test_every_kind_counts_alike(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, tokenizer = build_prompt_encoder(CONFIG, base), load_tokenizer(base, 16)

    def measure(encoder: PromptEncoder, *_: object) -> Metrics:
        # Lifting more hears more wishes, and the more of them where there are none.
        more = -float(encoder.head.lift_above) / 7
        kinds = dict.fromkeys(("words_ask", "tags_refuse", "templates_compound"), 0.5 + 0.3 * more)
        return kinds | dict.fromkeys(("words_neutral", "text_none"), 1 - more**3)

    monkeypatch.setattr(train_encoder, "_measure", measure)
    assert choose_lift(encoder, tokenizer, {}) == -3.0  # .7457; its neighbours .7282 and .7421
