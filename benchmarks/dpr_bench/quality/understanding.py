# How prompts are understood, apart from any item. Every template of the test wording is used, each equally often.
"""Read test prompts and count which wishes were read, and with which polarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dpr_bench.quality.subject import Subject
from dpr_train.prompts import LabelledPrompt, PromptGrammar, Role, Span, Template
from dpr_train.stages.prompt_pool import encode_prompts

__all__ = [
    "KINDS",
    "Drawn",
    "PromptRecord",
    "State",
    "WishRecord",
    "draw_all",
    "draw_meanings",
    "read_records",
]

State = Literal["right", "reversed", "unread"]

# Kinds of templates, and how many prompts are made of each.
KINDS = {
    "ask": 6,
    "refuse": 6,
    "compound": 6,
    "two_asks": 6,
    "two_refusals": 6,
    "three": 6,
    "two_one": 6,
    "four": 12,
    "neutral": 1,
    "release": 2,
}
_ROLES: dict[str, Role] = {"yes": "ask", "yes2": "ask", "no": "refuse", "no2": "refuse"}


@dataclass(frozen=True)
class Drawn:
    """A prompt and the kind of its template."""

    kind: str
    prompt: LabelledPrompt


@dataclass(frozen=True)
class WishRecord:
    """One wish of a prompt, and how it was read: with its polarity, with the other one, or not at all."""

    tag: str
    refused: bool
    state: State


@dataclass(frozen=True)
class PromptRecord:
    """One prompt, and how it was read; ``extra`` counts tags that were read and not wished."""

    kind: str
    family: str
    wishes: tuple[WishRecord, ...]
    extra: int

    @property
    def right(self) -> bool:
        """Whether every wish was read with its polarity, whatever else was."""
        return all(wish.state == "right" for wish in self.wishes)

    @property
    def exact(self) -> bool:
        """Whether exactly its wishes were read."""
        return self.right and self.extra == 0

    @property
    def understood(self) -> bool:
        """Whether anything was read at all."""
        return self.extra > 0 or any(wish.state != "unread" for wish in self.wishes)


def draw_all(
    grammar: PromptGrammar,
    rng: np.random.Generator,
    kinds: Sequence[str] = tuple(KINDS),
    *,
    most: int | None = None,
) -> list[Drawn]:
    """Every template of these kinds, each several times with tags drawn anew.

    Parameters
    ----------
    grammar : PromptGrammar
        Templates, tags and their words.
    rng : numpy.random.Generator
        Chooses tags and words.
    kinds : sequence of str
        Of ``KINDS``; one without templates gives nothing.
    most : int, optional
        At most so many prompts of a template.
    """
    drawn = []
    for kind in kinds:
        for template in grammar.templates[kind]:
            for _ in range(min(most or KINDS[kind], KINDS[kind])):
                slots = _slots(grammar, template, kind, rng)
                if slots is not None:
                    drawn.append(Drawn(kind, grammar.fill(rng, template, slots)))
    return drawn


def draw_meanings(grammar: PromptGrammar) -> list[Drawn]:
    """Every sentence that means, or refuses, a tag without naming it, once."""
    drawn = []
    for tag, words in enumerate(grammar.words):
        for text in words.meanings:
            drawn.append(_meaning(text, tag, "ask"))
        for text in words.meanings_refuse:
            drawn.append(_meaning(text, tag, "refuse"))
    return drawn


def _meaning(text: str, tag: int, role: Role) -> Drawn:
    return Drawn("meaning", LabelledPrompt(text, (Span(0, len(text), tag, role, named=False),), "meaning"))


def _slots(
    grammar: PromptGrammar, template: Template, kind: str, rng: np.random.Generator
) -> dict[str, tuple[int, Role]] | None:
    """A tag of its own for every wish of a template; None where no tags fit."""
    slots: dict[str, tuple[int, Role]] = {}
    for wish in dict.fromkeys(template.slots):
        adjective = any(name == wish and adj for name, adj in template.forms)
        taken = {tag for tag, _ in slots.values()}
        fitting = [
            tag
            for tag, words in enumerate(grammar.words)
            if tag not in taken and (words.adjectives or not adjective)
        ]
        if not fitting:
            return None
        tag = fitting[int(rng.integers(len(fitting)))]
        slots[wish] = tag, _ROLES.get(wish, "refuse" if kind == "refuse" else "ask")
        if kind == "release":
            slots[wish] = tag, "release"
    return slots


@torch.no_grad()
def read_records(
    subject: Subject, drawn: Sequence[Drawn], names: Sequence[str], embeddings: Tensor
) -> list[PromptRecord]:
    """Read every prompt among the tags of these names.

    Parameters
    ----------
    subject : Subject
        Whose prompt encoder reads.
    drawn : sequence of Drawn
        The prompts.
    names : sequence of str
        The tags.
    embeddings : Tensor
        float32 (G, p), of their names.
    """
    encoded = encode_prompts(
        subject.model.prompt_encoder, subject.tokenizer, embeddings, [d.prompt.text for d in drawn]
    )
    records = []
    for one, (_, wish) in zip(drawn, encoded, strict=True):
        asked, refused = (
            set(torch.nonzero(wish[:, column] >= subject.wish_threshold)[:, 0].tolist()) for column in (0, 1)
        )
        records.append(_record(one, asked, refused, names))
    return records


def _record(one: Drawn, asked: set[int], refused: set[int], names: Sequence[str]) -> PromptRecord:
    prompt = one.prompt
    wishes = tuple(_wishes(prompt, asked, refused, names))
    extra = (asked | refused) - set(prompt.asked) - set(prompt.refused)
    return PromptRecord(one.kind, prompt.family, wishes, len(extra))


def _wishes(
    prompt: LabelledPrompt, asked: set[int], refused: set[int], names: Sequence[str]
) -> Iterator[WishRecord]:
    for tags, right, wrong, turned_down in (
        (prompt.asked, asked, refused, False),
        (prompt.refused, refused, asked, True),
    ):
        for tag in tags:
            state: State = "right" if tag in right else "reversed" if tag in wrong else "unread"
            yield WishRecord(names[tag], turned_down, state)
