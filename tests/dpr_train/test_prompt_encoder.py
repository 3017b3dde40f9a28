# From text to tokens, and what is refused as an encoder.

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dpr_train.config import PromptEncoderConfig
from dpr_train.prompt_encoder import build_prompt_encoder, load_tokenizer, tokenize
from dpr_train.stages.prompt_pool import encode_prompts

SMALL = PromptEncoderConfig(max_tokens=16, head_dim=8, tuned_layers=1)
TEXTS = ["comedy", "no horror please", "show me something funny but no war films at all please"]


def test_texts_are_cut_and_padded_on_the_right(encoder_folder: Path) -> None:
    tokenizer = load_tokenizer(encoder_folder, 8)
    ids, mask = tokenize(tokenizer, TEXTS)
    assert ids.shape == mask.shape == (3, 8)
    assert mask.sum(1).tolist() == [3, 5, 8]
    assert (ids[mask == 0] == 0).all()
    special = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    assert [(row[0], row[length - 1]) for row, length in zip(ids, mask.sum(1), strict=True)] == [special] * 3


def test_a_saved_padding_does_not_lead_astray(encoder_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(encoder_folder, 8)
    tokenizer.enable_padding(length=30)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert len(load_tokenizer(tmp_path, 12).encode("comedy").ids) == 3


@torch.no_grad()
def test_a_prompt_does_not_depend_on_its_batchmates(encoder_folder: Path) -> None:
    encoder = build_prompt_encoder(SMALL, encoder_folder)
    tokenizer = load_tokenizer(encoder_folder, 16)
    tags = torch.randn(3, encoder.token_dim)
    together = encode_prompts(encoder, tokenizer, tags, TEXTS)
    for text, (tokens, wish) in zip(TEXTS, together, strict=True):
        ((alone, alone_wish),) = encode_prompts(encoder, tokenizer, tags, [text])
        assert tokens.shape == alone.shape == (len(tokenizer.encode(text).ids), encoder.token_dim)
        torch.testing.assert_close(tokens, alone, rtol=0, atol=1e-5)
        torch.testing.assert_close(wish, alone_wish, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tuned", [0, 1, 2])
def test_only_the_topmost_layers_are_tuned(encoder_folder: Path, tuned: int) -> None:
    encoder = build_prompt_encoder(SMALL.model_copy(update={"tuned_layers": tuned}), encoder_folder)
    encoder.freeze_lower_layers()
    layers = [
        {parameter.requires_grad for parameter in layer.parameters()}
        for layer in encoder.encoder.encoder.layer
    ]
    assert layers == [{layer >= 2 - tuned} for layer in range(2)]
    assert not any(p.requires_grad for p in encoder.encoder.embeddings.parameters())
    assert all(p.requires_grad for p in encoder.head.parameters())


def test_more_tuned_layers_than_there_are(encoder_folder: Path) -> None:
    encoder = build_prompt_encoder(SMALL.model_copy(update={"tuned_layers": 3}), encoder_folder)
    with pytest.raises(ValueError, match="tuned_layers is 3; the encoder has 2 layers"):
        encoder.freeze_lower_layers()


def test_unusable_encoders_are_named(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_tokens is 64; the encoder takes 32"):
        build_prompt_encoder(PromptEncoderConfig(max_tokens=64), encoder_folder)
    with pytest.raises(
        FileNotFoundError, match=r"expected a Hugging Face encoder with config\.json, got none"
    ):
        build_prompt_encoder(SMALL, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"expected a fast tokenizer in tokenizer\.json, got none"):
        load_tokenizer(tmp_path, 8)
    shutil.copytree(encoder_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"model_type expected 'bert' .*, got 'gpt2'"):
        build_prompt_encoder(SMALL, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        build_prompt_encoder(SMALL, tmp_path)
