# From text to tokens, and what is refused as an encoder.

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dpr_train.config import PromptEncoderConfig
from dpr_train.prompt_encoder import (
    HEAD_FILE,
    build_prompt_encoder,
    is_trained,
    load_tokenizer,
    save_prompt_encoder,
    tokenize,
)
from dpr_train.stages.prompt_pool import encode_prompts

SMALL = PromptEncoderConfig(max_tokens=16, head_dim=8, layers=2, tuned_layers=1)
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


@torch.no_grad()
def test_tokens_wishes_and_what_is_let_go(encoder_folder: Path) -> None:
    encoder = build_prompt_encoder(SMALL, encoder_folder).eval()
    ids, mask = map(torch.from_numpy, tokenize(load_tokenizer(encoder_folder, 16), TEXTS))
    tags = torch.randn(5, encoder.token_dim)
    tokens, wish, released = encoder(ids, mask, tags)
    understood = encoder.understand(ids, mask, tags)
    assert tokens.shape == (*ids.shape, encoder.token_dim)
    assert wish.shape == (3, 5, 2)
    assert released.shape == (3, 5)
    assert torch.equal(wish, understood.wish)
    assert torch.equal(released, understood.released)


@torch.no_grad()
def test_only_the_lowest_layers_are_kept(encoder_folder: Path) -> None:
    ids, mask = map(torch.from_numpy, tokenize(load_tokenizer(encoder_folder, 16), TEXTS))
    whole = build_prompt_encoder(SMALL, encoder_folder).eval()
    lower = build_prompt_encoder(SMALL.model_copy(update={"layers": 1}), encoder_folder).eval()
    assert lower.encoder.config.num_hidden_layers == len(lower.encoder.encoder.layer) == 1
    hidden = whole.encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    assert torch.equal(lower.tokens(ids, mask), hidden[1])
    assert not torch.equal(lower.tokens(ids, mask), whole.tokens(ids, mask))


@torch.no_grad()
def test_saved_and_opened_again(encoder_folder: Path, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"layers": 1})
    encoder = build_prompt_encoder(config, encoder_folder).eval()
    assert not is_trained(encoder_folder)
    out = tmp_path / "encoder"
    save_prompt_encoder(out, encoder, encoder_folder / "tokenizer.json", {"seed": 3})
    assert is_trained(out)
    assert {path.name for path in out.iterdir()} == {
        *("config.json", "model.safetensors", HEAD_FILE, "tokenizer.json", "training.json")
    }
    assert json.loads((out / "training.json").read_text(encoding="utf-8")) == {"seed": 3}
    again = build_prompt_encoder(config, out).eval()
    assert again.state_dict().keys() == encoder.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in encoder.state_dict().items())
    texts = [load_tokenizer(folder, 16).encode(TEXTS[2]).ids for folder in (encoder_folder, out)]
    assert texts[0] == texts[1]
    # Into its own folder, without a record: what is there is replaced.
    save_prompt_encoder(out, again, out / "tokenizer.json")
    assert load_file(out / HEAD_FILE).keys() == again.head.state_dict().keys()


def test_a_head_of_another_width_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    encoder = build_prompt_encoder(SMALL, encoder_folder)
    save_prompt_encoder(tmp_path, encoder, encoder_folder / "tokenizer.json")
    with pytest.raises(
        ValueError, match=rf"{HEAD_FILE}: expected a head of prompt_encoder\.head_dim, got .*size"
    ):
        build_prompt_encoder(SMALL.model_copy(update={"head_dim": 16}), tmp_path)
    (tmp_path / HEAD_FILE).write_bytes(b"torn")
    with pytest.raises(ValueError, match=rf"{HEAD_FILE}: expected a head"):
        build_prompt_encoder(SMALL, tmp_path)


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
        build_prompt_encoder(SMALL.model_copy(update={"max_tokens": 64}), encoder_folder)
    with pytest.raises(ValueError, match=r"prompt_encoder\.layers is 3; the encoder has 2"):
        build_prompt_encoder(SMALL.model_copy(update={"layers": 3}), encoder_folder)
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
