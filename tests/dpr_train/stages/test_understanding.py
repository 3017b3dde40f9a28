# Stage 2: what is hidden from the encoder, what contents are compared with, and that a few steps teach something.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from dpr_train.config import PromptEncoderConfig, UnderstandingStage
from dpr_train.progress import silent
from dpr_train.prompt_encoder import PromptEncoder, build_prompt_encoder, load_tokenizer
from dpr_train.prompts import Corpus, LabelledPrompt, PromptGrammar, Span, load_corpus
from dpr_train.prompts.universe import TagUniverse, make_universe
from dpr_train.stages.resumable import Metrics
from dpr_train.stages.understanding import (
    _content_loss,
    _set_dropout,
    _some_names,
    _WordMask,
    train_understanding,
)
from dpr_train.stages.understanding_batches import Batch, _contents
from dpr_train.understanding import ASKED, NO_WISH, REFUSED

TAGS = ("comedy", "horror", "war")
STAGE = UnderstandingStage(
    steps=30, batch_size=16, lr_encoder=1e-2, lr_head=1e-2, checkpoint_every=10, evaluate_every=2
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def universe(corpus: Corpus) -> TagUniverse:
    return make_universe(corpus, TAGS, ())


@pytest.fixture(scope="module")
def grammar(corpus: Corpus, universe: TagUniverse) -> PromptGrammar:
    return universe.grammar(corpus)


@pytest.fixture
def encoder(encoder_folder: Path) -> PromptEncoder:
    torch.manual_seed(0)
    return build_prompt_encoder(
        PromptEncoderConfig(max_tokens=32, layers=2, tuned_layers=1, head_dim=16), encoder_folder
    )


@pytest.fixture(scope="module")
def tokenizer(encoder_folder: Path) -> Tokenizer:
    return load_tokenizer(encoder_folder, 32)


def test_only_words_without_a_wish_are_hidden(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    ids = torch.full((50, 4), 9)
    classes = torch.tensor([[-1, NO_WISH, ASKED, REFUSED]]).repeat(50, 1)
    hidden = _WordMask(tokenizer, 0.5)(ids, classes) == tokenizer.token_to_id("[MASK]")
    assert not hidden[:, [0, 2, 3]].any()
    assert 10 < hidden[:, 1].sum() < 40
    assert torch.equal(_WordMask(tokenizer, 0.0)(ids, classes), ids)
    with pytest.raises(ValueError, match=r"expected a token \[MASK\], got none"):
        _WordMask(Tokenizer(models.WordLevel({"[UNK]": 0}, "[UNK]")), 0.1)


def test_dropout_works_on_products_and_not_on_attention(encoder: PromptEncoder) -> None:
    _set_dropout(encoder, 0.3)
    for layer in encoder.encoder.encoder.layer:
        assert layer.attention.self.dropout.p == 0
        assert layer.attention.output.dropout.p == layer.output.dropout.p == 0.3
    assert encoder.encoder.embeddings.dropout.p == 0.3


def test_tags_go_by_other_names_now_and_then(corpus: Corpus, grammar: PromptGrammar) -> None:
    drawn = [_some_names(grammar, np.random.default_rng(seed)) for seed in range(40)]
    for names in drawn:
        for tag, name in zip(TAGS, names, strict=True):
            assert name == tag or name in corpus.words_for(tag).nouns
    same = np.mean([name == tag for names in drawn for tag, name in zip(TAGS, names, strict=True)])
    assert 0.6 < same < 0.95


def batch_of(prompts: list[LabelledPrompt]) -> Batch:
    """A batch of which only the contents count, of three tags."""
    empty = np.zeros((len(prompts), 4), dtype=np.int64)
    none = np.zeros((len(prompts), 3, 4), dtype=np.bool_)
    return Batch(empty, empty, empty, np.arange(3), none[..., :3], none, none, *_contents(prompts, [0, 1, 2]))


def test_contents_are_compared_by_role(encoder: PromptEncoder) -> None:
    contents = torch.eye(encoder.token_dim)[:3]
    tokens, mask = torch.randn(2, 4, encoder.token_dim), torch.ones(2, 4, dtype=torch.int64)
    asked = [LabelledPrompt("", (Span(0, 1, 0, "ask"), Span(0, 1, 1, "ask"))), LabelledPrompt("")]
    refused = [LabelledPrompt("", (Span(0, 1, 0, "refuse"), Span(0, 1, 1, "refuse"))), LabelledPrompt("")]
    read, _ = encoder.head.reader(tokens, mask)
    both = (contents[0] + contents[1]) / 2**0.5
    for role, prompts in enumerate((asked, refused)):
        loss = _content_loss(encoder, tokens, mask, contents, batch_of(prompts))
        torch.testing.assert_close(loss, 1 - read[0, role] @ both)  # one wish has none to be told from
    let_go = [LabelledPrompt("", (Span(0, 1, 0, "release"), Span(0, 1, -1, "ask")))] * 2
    assert _content_loss(encoder, tokens, mask, contents, batch_of(let_go)) == 0


def test_a_few_steps_teach_something_and_measure_now_and_then(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    universe: TagUniverse,
    grammar: PromptGrammar,
    tmp_path: Path,
) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    measured: list[int] = []

    def measure() -> Metrics:
        measured.append(1)
        return {"measured": float(len(measured))}

    contents = torch.eye(encoder.token_dim)[: len(TAGS)]
    log = train_understanding(
        encoder, tokenizer, universe, grammar, contents, STAGE,
        seed=0, folder=tmp_path, progress=silent, measure=measure,
    )  # fmt: skip
    losses = ("presence", "polarity", "class", "match", "content")
    assert [set(metrics) - {"measured"} for metrics in log] == [set(losses)] * 3
    assert [metrics.get("measured") for metrics in log] == [None, 1, 2]  # every second chunk, and the last
    assert sum(log[-1][name] for name in losses) < 0.9 * sum(log[0][name] for name in losses)
    assert not encoder.training
    changed = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(name.startswith(("encoder.encoder.layer.1.", "head.")) for name in changed)
    assert {"head.match_scale", "head.reader.role.0.weight", "head.reader.content.weight"} <= changed


def test_without_contents_it_takes_a_teacher(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    universe: TagUniverse,
    grammar: PromptGrammar,
    tmp_path: Path,
) -> None:
    with pytest.raises(
        ValueError, match="expected those of the tags, or a teacher that knows them, got neither"
    ):
        train_understanding(
            encoder, tokenizer, universe, grammar, None, STAGE, seed=0, folder=tmp_path, progress=silent
        )
