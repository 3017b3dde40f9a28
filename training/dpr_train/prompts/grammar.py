# Composes prompts from clauses, with the labels that follow from how they were made.
"""Generate labelled prompts: templates filled with tags, clauses joined, neutral sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dpr_train.prompts.corpus import Corpus, Template

__all__ = ["LabelledPrompt", "PromptGrammar"]

_JOINERS = (", ", ". ", "; ", " and ", ", and ", " but ", ", but ", " - ", " ")
_SLOT = re.compile(r"\{(\w+)\}")

T = TypeVar("T")


@dataclass(frozen=True)
class LabelledPrompt:
    """A prompt and what it means.

    Parameters
    ----------
    text : str
        The prompt.
    asked, refused : tuple of int
        Numbers of the tags that it asks for and refuses.
    spans : tuple of (int, int, int)
        ``(start, end, tag)``: characters of ``text`` that name a tag. A tag that is meant without being named has none.
    """

    text: str
    asked: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    spans: tuple[tuple[int, int, int], ...] = ()


class PromptGrammar:
    """Draws prompts from a corpus for the tags of one catalogue.

    Parameters
    ----------
    corpus : Corpus
        Templates and words.
    tags : sequence of str
        Tag names; their positions are the tags' numbers.
    words : Corpus, optional
        Where the words of tags come from, if not from ``corpus``: held-out templates are tried with known words too.
    """

    def __init__(self, corpus: Corpus, tags: Sequence[str], *, words: Corpus | None = None) -> None:
        self.templates = corpus.templates
        self.tags = tuple(tags)
        self.words = [(words or corpus).words_for(tag) for tag in tags]

    def single(
        self, rng: np.random.Generator, tag: int, *, refuse: bool, meaning: float = 0.0
    ) -> LabelledPrompt:
        """One wish about one tag; with probability ``meaning`` a sentence that does not name it, where there is one."""
        words = self.words[tag]
        meanings = words.meanings_refuse if refuse else words.meanings
        if meanings and rng.random() < meaning:
            text = _pick(rng, meanings)
            return LabelledPrompt(text, () if refuse else (tag,), (tag,) if refuse else ())
        template = _pick(rng, self.templates["refuse" if refuse else "ask"])
        return self._fill(rng, template, {"tag": (tag, refuse)})

    def compound(
        self, rng: np.random.Generator, asked: Sequence[int], refused: Sequence[int]
    ) -> LabelledPrompt:
        """Several wishes in one prompt: a template made for their number where there is one, else joined clauses."""
        kind = {(1, 1): "compound", (2, 0): "two_asks", (0, 2): "two_refusals", (1, 2): "three"}.get(
            (len(asked), len(refused))
        )
        if kind and self.templates[kind] and rng.random() < 0.7:
            slots = {name: (tag, False) for name, tag in zip(("yes", "yes2"), asked, strict=False)}
            slots |= {name: (tag, True) for name, tag in zip(("no", "no2"), refused, strict=False)}
            return self._fill(rng, _pick(rng, self.templates[kind]), slots)
        clauses = [self.single(rng, tag, refuse=False) for tag in asked]
        clauses += [self.single(rng, tag, refuse=True) for tag in refused]
        rng.shuffle(clauses)
        return _join(rng, clauses)

    def neutral(self, rng: np.random.Generator) -> LabelledPrompt:
        """A sentence that asks for nothing about content."""
        return LabelledPrompt(_pick(rng, self.templates["neutral"]).text)

    def draw(self, rng: np.random.Generator) -> LabelledPrompt:
        """One training prompt: a third single wishes, half compounds, the rest neutral; some in other clothes."""
        kind = rng.random()
        if kind < 0.37:
            prompt = self.single(rng, self._tag(rng), refuse=rng.random() < 0.55, meaning=0.2)
        elif kind < 0.85:
            asked, refused = self._wishes(rng)
            prompt = self.compound(rng, asked, refused)
        else:
            prompt = self.neutral(rng)
        if rng.random() < 0.12:
            pair = [prompt, self.neutral(rng)]
            prompt = _join(rng, pair if rng.random() < 0.5 else pair[::-1], joiners=(". ", ", ", " "))
        return _dress(rng, prompt)

    def _tag(self, rng: np.random.Generator) -> int:
        return int(rng.integers(len(self.tags)))

    def _wishes(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        counts = [((1, 1), 0.6), ((2, 0), 0.1), ((0, 2), 0.1), ((1, 2), 0.1), ((2, 1), 0.06), ((2, 2), 0.04)]
        (n_asked, n_refused), _ = counts[rng.choice(len(counts), p=[weight for _, weight in counts])]
        if len(self.tags) < n_asked + n_refused:
            return [self._tag(rng)], []
        drawn = [int(t) for t in rng.choice(len(self.tags), n_asked + n_refused, replace=False)]
        return drawn[:n_asked], drawn[n_asked:]

    def _fill(
        self, rng: np.random.Generator, template: Template, slots: dict[str, tuple[int, bool]]
    ) -> LabelledPrompt:
        """Put a word for its tag into every slot, remembering where."""
        text, spans, at = "", [], 0
        for match in _SLOT.finditer(template.text):
            tag, _ = slots[match[1]]
            text += template.text[at : match.start()]
            word = _pick(rng, self.words[tag].nouns)
            spans.append((len(text), len(text) + len(word), tag))
            text += word
            at = match.end()
        text += template.text[at:]
        asked = tuple(tag for tag, refused in slots.values() if not refused)
        refused = tuple(tag for tag, refused in slots.values() if refused)
        return LabelledPrompt(text, asked, refused, tuple(spans))


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _join(
    rng: np.random.Generator, clauses: Sequence[LabelledPrompt], joiners: Sequence[str] = _JOINERS
) -> LabelledPrompt:
    text, spans = "", []
    for clause in clauses:
        if text:
            text = text.rstrip(".!?;, ") + _pick(rng, joiners)
        spans += [(start + len(text), end + len(text), tag) for start, end, tag in clause.spans]
        text += clause.text
    asked = tuple(tag for clause in clauses for tag in clause.asked)
    refused = tuple(tag for clause in clauses for tag in clause.refused)
    return LabelledPrompt(text, asked, refused, tuple(spans))


def _dress(rng: np.random.Generator, prompt: LabelledPrompt) -> LabelledPrompt:
    """Change what a keyboard changes, but no place of a span: case, final punctuation, two letters swapped."""
    text = prompt.text
    case = rng.random()
    if case < 0.3:
        text = text.lower()
    elif case < 0.33:
        text = text.upper()
    if len(text) != len(prompt.text):  # a few letters change length with their case; spans would be off
        text = prompt.text
    if rng.random() < 0.1 and len(text) > 8:
        at = int(rng.integers(1, len(text) - 2))
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if rng.random() < 0.3:
        text = text.rstrip(".!?") or text
    return LabelledPrompt(text, prompt.asked, prompt.refused, prompt.spans)
