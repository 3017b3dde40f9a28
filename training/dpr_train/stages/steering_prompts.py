# Which prompts stage 3 trains on: wishes about the catalogue's tags, alone and together, and wishes about items' texts.
"""Draw the prompts of stage 3, and the items that obey each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import Tensor

from dpr_train.progress import Progress
from dpr_train.prompt_encoder import PromptEncoder
from dpr_train.prompts import LabelledPrompt, PromptGrammar
from dpr_train.stages.prompt_pool import PromptPool, encode_prompts, obedient_items

__all__ = ["TextWishes", "draw_pool", "text_wishes"]

BoolArray = npt.NDArray[np.bool_]

# How many tags each prompt asks for and refuses, and how often.
_COUNTS = {
    (1, 0): 0.3,
    (0, 1): 0.27,
    (1, 1): 0.25,
    (2, 0): 0.05,
    (0, 2): 0.05,
    (1, 2): 0.03,
    (2, 1): 0.03,
    (2, 2): 0.02,
}
_ABOUT = 20  # a phrase is about so many items: those whose texts come nearest
_LIKENESS = 0.25  # and only those that are at least so near (cosine)
_TRIES = 20


@dataclass(frozen=True)
class TextWishes:
    """Phrases about items' texts.

    Parameters
    ----------
    grammar : PromptGrammar
        Draws prompts about them; its tags are the phrases.
    about : bool (N, phrases)
        Which item each phrase is about.
    """

    grammar: PromptGrammar
    about: BoolArray


def text_wishes(grammar: PromptGrammar, phrases: Tensor, texts: Tensor) -> TextWishes:
    """Tie phrases to the items whose texts are nearest.

    Parameters
    ----------
    grammar : PromptGrammar
        Its tags are the phrases.
    phrases : Tensor
        float32 (phrases, p), unit length.
    texts : Tensor
        float32 (N, p), unit length.
    """
    likeness = texts @ phrases.T  # (N, phrases)
    nearest = likeness.topk(min(_ABOUT, len(texts)), dim=0).values[-1]
    return TextWishes(grammar, (likeness >= nearest.clamp(min=_LIKENESS)).numpy())


def draw_pool(
    grammar: PromptGrammar,
    texts: TextWishes | None,
    carries: BoolArray,
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    tag_embeddings: Tensor,
    size: int,
    text_share: float,
    *,
    seed: int,
    progress: Progress,
) -> PromptPool:
    """Draw about ``size`` prompts that some item obeys, and encode them.

    Parameters
    ----------
    grammar : PromptGrammar
        Draws prompts about the catalogue's tags.
    texts : TextWishes or None
        Where prompts about texts come from.
    carries : bool (N, G)
        Which item has which tag.
    encoder, tokenizer, tag_embeddings
        Read the prompts.
    size : int
        Number of prompts.
    text_share : float
        Share of them that is about texts.
    seed : int
        Of the drawing.
    progress : callable
        ``(stage, done, total, text)``.
    """
    rng = np.random.default_rng(seed)
    about = np.flatnonzero(texts.about.any(0)) if texts is not None else np.empty(0, dtype=np.int64)
    n_text = int(size * text_share) if len(about) else 0
    drawn = [_draw_tags(grammar, carries, rng) for _ in range(size - n_text)]
    n_tags = len(grammar.tags)
    asked, refused = np.zeros((2, len(drawn) + n_text, n_tags), dtype=np.bool_)
    allowed = np.ones((len(drawn) + n_text, len(carries)), dtype=np.bool_)
    for row, prompt in enumerate(drawn):
        asked[row, list(prompt.asked)] = True
        refused[row, list(prompt.refused)] = True
        allowed[row] = obedient_items(prompt, carries)
    for row in range(len(drawn), len(drawn) + n_text):
        assert texts is not None
        prompt = texts.grammar.single(rng, int(rng.choice(about)), refuse=rng.random() < 0.3)
        allowed[row] = obedient_items(prompt, texts.about)
        drawn.append(prompt)
    encoded = encode_prompts(encoder, tokenizer, tag_embeddings, [p.text for p in drawn], progress=progress)
    return PromptPool(drawn, encoded, allowed, asked, refused)


def _draw_tags(grammar: PromptGrammar, carries: BoolArray, rng: np.random.Generator) -> LabelledPrompt:
    """A prompt about tags that some item obeys; several wishes are tried again until one does."""
    n_tags = len(grammar.tags)
    for _ in range(_TRIES):
        n_asked, n_refused = list(_COUNTS)[rng.choice(len(_COUNTS), p=list(_COUNTS.values()))]
        if n_asked + n_refused > n_tags:
            continue
        tags = [int(t) for t in rng.choice(n_tags, n_asked + n_refused, replace=False)]
        asked, refused = tags[:n_asked], tags[n_asked:]
        if len(tags) == 1:
            prompt = grammar.single(rng, tags[0], refuse=bool(refused), meaning=0.2)
        else:
            prompt = grammar.compound(rng, asked, refused, meaning=0.1)
        if obedient_items(prompt, carries).any():
            return prompt
    return grammar.single(rng, int(rng.choice(np.flatnonzero(carries.any(0)))), refuse=False)
