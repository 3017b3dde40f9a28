# Where items' texts lie.

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from dpr_train.item_texts import TextEmbedder, principal_directions
from dpr_train.prompt_encoder import tokenize

TEXTS = ["comedy", "no horror please", "", "show me something funny but no war films at all please"]


@torch.no_grad()
def test_a_text_is_the_mean_of_its_tokens(encoder_folder: Path) -> None:
    embed = TextEmbedder(encoder_folder)
    together = embed(TEXTS, batch_size=3)
    assert together.shape == (4, embed.dim)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(4))
    for text, vector in zip(TEXTS, together, strict=True):
        ids, mask = map(torch.from_numpy, tokenize(embed.tokenizer, [text]))
        mean = embed.encoder.tokens(ids, mask)[0].mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=0, atol=1e-5)
    assert embed([]).shape == (0, embed.dim)


def test_texts_are_cut_where_the_encoder_ends(encoder_folder: Path) -> None:
    long, longer = " ".join(["war"] * 40), " ".join(["war"] * 60)  # the tiny encoder takes 32 tokens
    embed = TextEmbedder(encoder_folder)
    assert torch.equal(embed([long]), embed([longer]))
    short = TextEmbedder(encoder_folder, max_tokens=4)
    assert torch.equal(short(["war war war"]), short(["war war comedy"]))


def test_all_layers_are_read(encoder_folder: Path) -> None:
    layers = json.loads((encoder_folder / "config.json").read_text())["num_hidden_layers"]
    assert len(TextEmbedder(encoder_folder).encoder.encoder.encoder.layer) == layers


def test_a_text_is_read_once(encoder_folder: Path) -> None:
    seen = []
    embed = TextEmbedder(encoder_folder)
    first = embed(TEXTS)
    again = embed([*reversed(TEXTS), TEXTS[0]], progress=lambda *x: seen.append(x))
    assert seen == []
    assert torch.equal(again, first[[3, 2, 1, 0, 0]])


def test_progress_is_told(encoder_folder: Path) -> None:
    seen = []
    TextEmbedder(encoder_folder)(TEXTS, batch_size=3, progress=lambda *x: seen.append(x))
    assert seen == [("reading texts", 3, 4, ""), ("reading texts", 4, 4, "")]


def test_a_folder_without_weights(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        TextEmbedder(tmp_path)
    shutil.copy(encoder_folder / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        TextEmbedder(tmp_path)


def test_directions_are_those_of_the_largest_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([0.1, 5.0, 0.2, 2.0])
    made = torch.randn(200, 4, generator=generator) * spread + 3
    mean, basis = principal_directions(made, 2)
    torch.testing.assert_close(mean, made.mean(0))
    torch.testing.assert_close(basis.T @ basis, torch.eye(2), rtol=0, atol=1e-5)
    assert basis.abs().argmax(0).tolist() == [1, 3]
    assert (basis.amax(0) == basis.abs().amax(0)).all()  # the sign is the same on every machine


def test_fewer_texts_than_directions() -> None:
    mean, basis = principal_directions(torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0]]), 3)
    assert mean.tolist() == [0.5, 0.5, 0, 0]
    assert basis.shape == (4, 3)
    assert (basis[:, 2] == 0).all()
    assert torch.isfinite(basis).all()
