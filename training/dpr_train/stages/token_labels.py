# From the spans of generated prompts to what the losses of stage 2 compare with.
"""Labels of prompts and of their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from dpr_train.prompts import LabelledPrompt, Span
from dpr_train.understanding import ASKED, NO_WISH, REFUSED

__all__ = ["class_labels", "match_labels", "wish_labels"]

CLASS_OF = {"release": NO_WISH, "ask": ASKED, "refuse": REFUSED}


def wish_labels(prompts: Sequence[LabelledPrompt], tags: Sequence[int]) -> npt.NDArray[np.bool_]:
    """What each prompt says of ``tags``, bool (B, G, 3): released, asked, refused."""
    column = {tag: g for g, tag in enumerate(tags)}
    said = np.zeros((len(prompts), len(tags), 3), dtype=np.bool_)
    for row, prompt in enumerate(prompts):
        for span in _about_tags(prompt):
            said[row, column[span.tag], CLASS_OF[span.role]] = True
    return said


def class_labels(
    encodings: Sequence[Encoding], prompts: Sequence[LabelledPrompt], length: int
) -> npt.NDArray[np.int64]:
    """Class of every token, int64 (B, T): asked or refused where a span is, else no wish; -1 for padding."""
    labels = np.full((len(prompts), length), -1, dtype=np.int64)
    for row, (encoding, prompt) in enumerate(zip(encodings, prompts, strict=True)):
        labels[row, : len(encoding.ids)] = NO_WISH  # special tokens, too: nothing is wished for there
        for span in prompt.spans:
            labels[row, _inside(encoding, span)] = CLASS_OF[span.role]
    return labels


def match_labels(
    encodings: Sequence[Encoding], prompts: Sequence[LabelledPrompt], tags: Sequence[int], length: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which token names which tag, bool (B, G, T), and where that is known, bool (B, G, T)."""
    column = {tag: g for g, tag in enumerate(tags)}
    named = np.zeros((len(prompts), len(tags), length), dtype=np.bool_)
    known = np.zeros((len(prompts), len(tags), length), dtype=np.bool_)
    for row, (encoding, prompt) in enumerate(zip(encodings, prompts, strict=True)):
        known[row, :, : len(encoding.ids)] = True
        for span in _about_tags(prompt):
            if span.named:
                named[row, column[span.tag], _inside(encoding, span)] = True
            else:
                known[row, column[span.tag]] = False  # some tokens carry the meaning; nobody says which
    return named, known


def _inside(encoding: Encoding, span: Span) -> list[int]:
    return [t for t, (a, b) in enumerate(encoding.offsets) if a < span.end and b > span.start]


def _about_tags(prompt: LabelledPrompt) -> list[Span]:
    return [span for span in prompt.spans if span.tag >= 0]
