# Composes prompts from clauses, with the labels that follow from how they were made.
"""Generate labelled prompts: templates filled with tags, clauses joined, neutral sentences."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from dpr_train.prompts.corpus import Annotated, Corpus, TagWords, Template, slot_form

__all__ = ["LabelledPrompt", "PromptGrammar", "Role", "Span"]


Role = Literal["ask", "refuse", "release"]

_JOINERS = (", ", ". ", "; ", " and ", ", and ", " but ", ", but ", " - ", " ")
_SLOT = re.compile(r"\{(\w+)\}")
_KINDS = {
    (1, 1): "compound",
    (2, 0): "two_asks",
    (0, 2): "two_refusals",
    (1, 2): "three",
    (2, 1): "two_one",
    (2, 2): "four",
}
_ROLE: dict[str, Role] = {"+": "ask", "-": "refuse", "=": "release"}
_SHARES = {(1, 1): 0.5, (2, 0): 0.1, (0, 2): 0.1, (1, 2): 0.11, (2, 1): 0.11, (2, 2): 0.08}
_UP_TO = list(accumulate(_SHARES.values()))
_ANNOTATED = 0.2  # share of whole prompts written by hand

T = TypeVar("T")


class Span(NamedTuple):
    """Characters ``start:end`` of a prompt that speak of ``tag`` (-1: of something that is no tag), and in which role.

    A released tag is spoken of without a wish being left: one taken back, or none to begin with. ``named`` tells a
    noun or an adjective in a slot from a whole clause that means the tag without naming it.
    """

    start: int
    end: int
    tag: int
    role: Role
    named: bool = True


@dataclass(frozen=True)
class LabelledPrompt:
    """A prompt and what it means.

    Parameters
    ----------
    text : str
        The prompt.
    spans : tuple of Span
        Where its wishes are.
    family : str
        Idiom of the template that made it, or of each clause, joined by " + ".
    """

    text: str
    spans: tuple[Span, ...] = ()
    family: str = ""

    @property
    def asked(self) -> tuple[int, ...]:
        """Numbers of the tags that it asks for, in the order of the text."""
        return self._tags("ask")

    @property
    def refused(self) -> tuple[int, ...]:
        """Numbers of the tags that it refuses, in the order of the text."""
        return self._tags("refuse")

    @property
    def released(self) -> tuple[int, ...]:
        """Numbers of the tags that it speaks of without a wish, in the order of the text."""
        return self._tags("release")

    def _tags(self, role: Role) -> tuple[int, ...]:
        return tuple(dict.fromkeys(s.tag for s in self.spans if s.role == role and s.tag >= 0))


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
    groups : mapping of str to (float, sequence of int), optional
        Shares of :meth:`draw` and the tags among which it then chooses alike; the tags of one prompt mostly come from
        one group. By default all tags are one group.

    Attributes
    ----------
    annotated : list of LabelledPrompt
        The corpus' whole prompts that speak of these tags alone.
    """

    def __init__(
        self,
        corpus: Corpus,
        tags: Sequence[str],
        *,
        words: Corpus | None = None,
        groups: Mapping[str, tuple[float, Sequence[int]]] | None = None,
    ) -> None:
        self.templates = corpus.templates
        self.tags = tuple(tags)
        self.words: list[TagWords] = [(words or corpus).words_for(tag) for tag in tags]
        shares = groups or {"": (1.0, range(len(self.tags)))}
        total = sum(share for share, _ in shares.values())
        self._up_to = list(accumulate(share / total for share, _ in shares.values()))
        self._groups = [list(members) for _, members in shares.values()]
        self.annotated = _known(corpus.annotated, self.tags)
        self._fitting_templates: dict[tuple[str, frozenset[str]], list[Template]] = {}

    def single(
        self, rng: np.random.Generator, tag: int, *, refuse: bool, meaning: float = 0.0
    ) -> LabelledPrompt:
        """One wish about one tag; with probability ``meaning`` a sentence that does not name it, where there is one."""
        words = self.words[tag]
        meanings = words.meanings_refuse if refuse else words.meanings
        if meanings and rng.random() < meaning:
            text = _pick(rng, meanings)
            span = Span(0, len(text), tag, "refuse" if refuse else "ask", named=False)
            return LabelledPrompt(text, (span,), "meaning")
        kind: Role = "refuse" if refuse else "ask"
        return self._fill(rng, kind, {"tag": (tag, kind)})

    def release(self, rng: np.random.Generator, tag: int) -> LabelledPrompt:
        """A sentence that speaks of a tag and leaves no wish about it."""
        return self._fill(rng, "release", {"tag": (tag, "release")})

    def compound(
        self, rng: np.random.Generator, asked: Sequence[int], refused: Sequence[int], *, meaning: float = 0.0
    ) -> LabelledPrompt:
        """Several wishes in one prompt: mostly a template made for their number where there is one, else clauses."""
        kind = _KINDS.get((len(asked), len(refused)))
        if kind and self.templates[kind] and rng.random() < 0.7:
            slots: dict[str, tuple[int, Role]] = {}
            slots |= {name: (tag, "ask") for name, tag in zip(("yes", "yes2"), asked, strict=False)}
            slots |= {name: (tag, "refuse") for name, tag in zip(("no", "no2"), refused, strict=False)}
            return self._fill(rng, kind, slots)
        clauses = [self.single(rng, tag, refuse=False, meaning=meaning) for tag in asked]
        clauses += [self.single(rng, tag, refuse=True, meaning=meaning) for tag in refused]
        return _join(rng, [clauses[i] for i in rng.permutation(len(clauses))])

    def neutral(self, rng: np.random.Generator) -> LabelledPrompt:
        """A sentence that asks for nothing about content."""
        template = _pick(rng, self.templates["neutral"])
        return LabelledPrompt(template.text, (), template.family)

    def draw(self, rng: np.random.Generator) -> LabelledPrompt:
        """One training prompt: a single wish or a compound; a few release a tag or are neutral, some are dressed up."""
        if self.annotated and rng.random() < _ANNOTATED:
            return _dress(rng, _pick(rng, self.annotated))
        kind = rng.random()
        group = self._groups[_one_of(self._up_to, rng)]
        if kind < 0.4:
            prompt = self.single(rng, _pick(rng, group), refuse=rng.random() < 0.55, meaning=0.3)
        elif kind < 0.46 and self.templates["release"]:
            prompt = self.release(rng, _pick(rng, group))
        elif kind < 0.88:
            asked, refused = self._wishes(rng, group)
            prompt = self.compound(rng, asked, refused, meaning=0.12)
        else:
            prompt = self.neutral(rng)
        if rng.random() < 0.12:
            pair = [prompt, self.neutral(rng)]
            prompt = _join(rng, pair if rng.random() < 0.5 else pair[::-1], joiners=(". ", ", ", " "))
        return _dress(rng, prompt)

    def _wishes(self, rng: np.random.Generator, group: Sequence[int]) -> tuple[list[int], list[int]]:
        n_asked, n_refused = list(_SHARES)[_one_of(_UP_TO, rng)]
        if len(group) < n_asked + n_refused:
            return [_pick(rng, group)], []
        drawn = [int(t) for t in rng.choice(group, n_asked + n_refused, replace=False)]
        return drawn[:n_asked], drawn[n_asked:]

    def _fill(
        self, rng: np.random.Generator, kind: str, slots: Mapping[str, tuple[int, Role]]
    ) -> LabelledPrompt:
        """Draw a template whose slots these tags can fill, and put a word for its tag into every slot."""
        fitting = self._fitting(
            kind, frozenset(w for w, (tag, _) in slots.items() if self.words[tag].adjectives)
        )
        return self.fill(rng, _pick(rng, fitting), slots)

    def _fitting(self, kind: str, adjectival: frozenset[str]) -> Sequence[Template]:
        """Templates of a kind that want adjectives only of these wishes."""
        key = (kind, adjectival)
        if key not in self._fitting_templates:
            self._fitting_templates[key] = [
                t for t in self.templates[kind] if all(wish in adjectival for wish, adj in t.forms if adj)
            ]
        return self._fitting_templates[key]

    def fill(
        self, rng: np.random.Generator, template: Template, slots: Mapping[str, tuple[int, Role]]
    ) -> LabelledPrompt:
        """Put a word for its tag into every slot, remembering where.

        Parameters
        ----------
        rng : numpy.random.Generator
            Chooses the words.
        template : Template
            With exactly these slots.
        slots : mapping of str to (int, {"ask", "refuse", "release"})
            For each wish its tag, and what it says of it.
        """
        text, spans, at = "", [], 0
        for match in _SLOT.finditer(template.text):
            wish, adjective = slot_form(match[1])
            tag, role = slots[wish]
            text += template.text[at : match.start()]
            word = _pick(rng, self.words[tag].adjectives if adjective else self.words[tag].nouns)
            spans.append(Span(len(text), len(text) + len(word), tag, role))
            text += word
            at = match.end()
        return LabelledPrompt(text + template.text[at:], tuple(spans), template.family)


def _known(prompts: Sequence[Annotated], tags: Sequence[str]) -> list[LabelledPrompt]:
    """Whole prompts whose tags are all among ``tags``."""
    number = {tag.casefold(): g for g, tag in enumerate(tags)} | {"": -1}
    found = []
    for prompt in prompts:
        if all(tag.casefold() in number for *_, tag in prompt.wishes):
            spans = (Span(a, b, number[tag.casefold()], _ROLE[sign]) for a, b, sign, tag in prompt.wishes)
            found.append(LabelledPrompt(prompt.text, tuple(spans), "annotated"))
    return found


def _one_of(up_to: Sequence[float], rng: np.random.Generator) -> int:
    """A number drawn by the running sums of its shares; a tenth of the time of ``rng.choice``."""
    return min(bisect(up_to, rng.random()), len(up_to) - 1)


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _join(
    rng: np.random.Generator, clauses: Sequence[LabelledPrompt], joiners: Sequence[str] = _JOINERS
) -> LabelledPrompt:
    text, spans = "", list[Span]()
    for clause in clauses:
        if text:
            text = text.rstrip(".!?;, ")
            spans = [span._replace(end=min(span.end, len(text))) for span in spans]
            text += _pick(rng, joiners)
        shift = len(text)
        spans += [span._replace(start=span.start + shift, end=span.end + shift) for span in clause.spans]
        text += clause.text
    return LabelledPrompt(text, tuple(spans), " + ".join(clause.family for clause in clauses))


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
    return replace(prompt, text=text)
