# A random BERT and a training of a few seconds, so that tests of training and of export download nothing.

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from dpr_train.config import (
    BackboneConfig,
    BackboneStage,
    PromptEncoderConfig,
    SteeringConfig,
    SteeringStage,
    TrainConfig,
    UnderstandingStage,
)
from dpr_train.data import Dataset, make_synthetic
from dpr_train.data.synthetic import TAG_WORDS
from dpr_train.prompts import load_corpus
from dpr_train.run import train

LONGEST = 32  # tokens that the tiny encoder takes
_UNDERSTANDING = UnderstandingStage(
    steps=300,
    batch_size=32,
    lr_encoder=1e-2,
    lr_head=1e-2,
    domains=(),  # the catalogue's tags alone: the tiny tokenizer knows no other words
    masked_words=0.0,
    dropout=0.0,
    checkpoint_every=10,
)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_dataset() -> Dataset:
    """Invent 60 users and 36 items with three tags, few enough to be understood after a few seconds."""
    return make_synthetic(n_users=60, n_items=36, n_tags=3, seed=3)


def tiny_encoder_folder(path: Path) -> Path:
    """Write a Hugging Face folder: a random 2-layer BERT and a WordLevel tokenizer of the corpora's words."""
    path.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = BertModel(config, add_pooling_layer=False)
    tensors = encoder.state_dict()
    tensors["embeddings.word_embeddings.weight"] *= 10  # words outweigh positions: they are learned quickly
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config.save_pretrained(path)
    _tokenizer(vocabulary).save(str(path / "tokenizer.json"))
    return path


def tiny_train_config(**changes: Any) -> TrainConfig:
    """Settings that train within a second, too short to learn; ``changes`` replace whole fields."""
    config = TrainConfig(
        threads=1,
        backbone=BackboneConfig(dim=16, max_history=12),
        prompt_encoder=PromptEncoderConfig(
            base="random", max_tokens=LONGEST, layers=2, tuned_layers=2, head_dim=32
        ),
        steering=SteeringConfig(
            tag_dim=8,
            text_dim=4,
            fusion_dim=16,
            wish_threshold=0.3,  # seconds teach what is spoken of, and hardly whether it is asked for or refused
        ),
        stage1=BackboneStage(epochs=4),
        stage2=_UNDERSTANDING.model_copy(update={"steps": 20}),
        stage3=SteeringStage(epochs=2, batch_size=128, prompts=150),
    )
    return config.model_copy(update=changes)


def tiny_checkpoint(
    path: Path,
    *,
    backbone: str = "sasrec",
    experts: tuple[str, ...] = ("toward", "away"),
    phi: str = "relu",
) -> Path:
    """Train on :func:`tiny_dataset` and return ``path``, a whole checkpoint; its prompts open gates."""
    base = tiny_train_config()
    config = TrainConfig.model_validate(
        base.model_dump()
        | {
            "backbone": base.backbone.model_dump() | {"kind": backbone, "hidden": 24},
            "steering": base.steering.model_dump() | {"experts": experts, "phi": phi},
            "stage2": _UNDERSTANDING.model_dump() | {"checkpoint_every": 100},
        }
    )
    encoder = tiny_encoder_folder(path.parent / f"{path.name}.encoder")
    train(tiny_dataset(), config, path, encoder_folder=encoder)
    return path


@cache
def _vocabulary() -> dict[str, int]:
    """Every word of the training templates and of the tags' names and nouns, in lower case, to its number."""
    corpus = load_corpus()
    texts = [template.text for templates in corpus.templates.values() for template in templates]
    texts += [noun for tag in TAG_WORDS for noun in corpus.words_for(tag).nouns]
    words = {word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower())} | set(TAG_WORDS)
    return {word: number for number, word in enumerate((*_SPECIAL, *sorted(words)))}


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    return tokenizer
