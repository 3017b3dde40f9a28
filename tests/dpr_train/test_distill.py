# A student of a trained prompt encoder: which layers it begins with, what it leaves, and who can begin from it.

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertModel

from dpr_train import train_encoder
from dpr_train.config import PromptEncoderConfig, UnderstandingStage
from dpr_train.distill import distill_prompt_encoder, student_of
from dpr_train.encoder_package import pack_prompt_encoder, unpack_prompt_encoder
from dpr_train.prompt_encoder import (
    HEAD_FILE,
    PromptEncoder,
    build_prompt_encoder,
    is_trained,
    layers_of,
    load_tokenizer,
    save_prompt_encoder,
)
from dpr_train.run_folder import RunError
from dpr_train.weight_codes import round_embeddings

CONFIG = PromptEncoderConfig(base="random", max_tokens=16, head_dim=64, layers=3, tuned_layers=3)
STAGE = UnderstandingStage(steps=4, batch_size=8, domains=("genres",), checkpoint_every=2, dropout=0.0)
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def teacher_folder(encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three random layers and a random head, which count as trained. Read only."""
    out = tmp_path_factory.mktemp("teacher")
    sizes = BertConfig(
        vocab_size=load_tokenizer(encoder_folder, 16).get_vocab_size(), hidden_size=64, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = PromptEncoder(BertModel(sizes, add_pooling_layer=False), CONFIG)
    round_embeddings(encoder)
    save_prompt_encoder(
        out, encoder, encoder_folder / "tokenizer.json", {"seed": 7, "metrics": [1], "base": "x"}
    )
    return out


@pytest.fixture(autouse=True)
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_encoder, "_MEASURED", 4)


def distil(teacher: Path, out: Path, **changes: object) -> list[tuple[str, dict[str, float]]]:
    reports: list[tuple[str, dict[str, float]]] = []
    settings = {"layers": (0, 2), "seed": 1, "threads": 1} | changes
    distill_prompt_encoder(teacher, out, CONFIG, STAGE, report=lambda *told: reports.append(told), **settings)
    return reports


@pytest.fixture(scope="module")
def made(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    out = tmp_path_factory.mktemp("student")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_encoder, "_MEASURED", 4)
        return out, distil(teacher_folder, out)


def test_a_student_begins_with_the_layers_that_were_chosen(teacher_folder: Path) -> None:
    teacher = build_prompt_encoder(CONFIG, teacher_folder)
    student = student_of(teacher, (0, 2))
    theirs, ours = teacher.state_dict(), student.state_dict()
    place = {
        "encoder.encoder.layer.0.": "encoder.encoder.layer.0.",
        "encoder.encoder.layer.1.": "encoder.encoder.layer.2.",
    }
    for name, tensor in ours.items():
        came_from = next((new + name[len(old) :] for old, new in place.items() if name.startswith(old)), name)
        assert torch.equal(tensor, theirs[came_from]), name
    assert (student.config.layers, student.config.tuned_layers, student.config.head_dim) == (2, 2, 64)
    ours["head.match_scale"].add_(1)
    assert len(teacher.encoder.encoder.layer) == teacher.encoder.config.num_hidden_layers == 3
    assert teacher.state_dict()["head.match_scale"] != ours["head.match_scale"]


@pytest.mark.parametrize("layers", [(), (1, 0), (0, 0), (0, 3), (-1, 2)])
def test_layers_that_the_teacher_has_not(teacher_folder: Path, layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layers: expected some of 0 to 2 in rising order, got \["):
        student_of(build_prompt_encoder(CONFIG, teacher_folder), layers)


def test_what_a_distillation_leaves(teacher_folder: Path, made: tuple[Path, list]) -> None:
    out, reports = made
    assert is_trained(out)
    assert layers_of(out) == 2
    record = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert record["teacher"]["layers"] == [0, 2]
    assert record["teacher"]["training"] == {"seed": 7, "base": "x"}
    assert [name for name, _ in reports] == ["teacher", "student"]
    assert reports[0][1] == record["teacher"]["metrics"]
    assert reports[1][1].items() <= record["metrics"][-1].items()
    assert reports[0][1].keys() == reports[1][1].keys() >= {"templates_ask", "words_polarity", "text_none"}
    hard, soft = {"presence", "class", "match"}, {"tokens", "names", "soft_class", "soft_content"}
    assert hard | soft <= record["metrics"][0].keys()
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (teacher_folder, out))
    assert torch.equal(ours[WORDS], theirs[WORDS])  # four bits, which is how they are packed
    assert not torch.equal(
        ours["encoder.layer.1.output.dense.weight"], theirs["encoder.layer.2.output.dense.weight"]
    )
    assert (out / "tokenizer.json").read_bytes() == (teacher_folder / "tokenizer.json").read_bytes()
    assert not torch.equal(
        *(load_file(folder / HEAD_FILE)["reader.content.weight"] for folder in (teacher_folder, out))
    )


def test_an_interrupted_distillation_ends_with_the_same_weights(
    teacher_folder: Path, made: tuple[Path, list], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class StoppedError(Exception):
        pass

    def stop(_what: str, done: int, *_: object) -> None:
        if done == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        distil(teacher_folder, tmp_path, progress=stop)
    assert not is_trained(tmp_path)
    with pytest.raises(
        RunError, match=r"differs in layers \(\[0, 2\], now \[0, 1\]\), seed \(1, now 2\); expected"
    ):
        distil(teacher_folder, tmp_path, layers=(0, 1), seed=2)
    distil(teacher_folder, tmp_path)
    for name in ("model.safetensors", HEAD_FILE):
        assert (tmp_path / name).read_bytes() == (made[0] / name).read_bytes()


def test_a_student_can_be_packed_and_opened(made: tuple[Path, list], tmp_path: Path) -> None:
    pack_prompt_encoder(made[0], tmp_path / "student.zip")
    folder = unpack_prompt_encoder(tmp_path / "student.zip", tmp_path / "unpacked")
    sizes = CONFIG.model_copy(update={"layers": 2, "tuned_layers": 2})
    assert len(build_prompt_encoder(sizes, folder).encoder.encoder.layer) == 2


def test_only_a_trained_encoder_can_teach(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a trained prompt encoder, got one without a head"):
        distil(encoder_folder, tmp_path)
