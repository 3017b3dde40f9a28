# Two promises: a prompt that asks for nothing changes nothing, and strict steering never shows what was refused.
"""Neutral prompts and strict steering on the frozen test wording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dpr_bench.quality.metrics import share_carrying
from dpr_bench.quality.prompt_reading import read_prompts, steer
from dpr_bench.quality.queries import recent_counts
from dpr_bench.quality.ranking import top_tens
from dpr_bench.quality.subject import Subject, chunks
from dpr_bench.quality.systems import backbone, steered
from dpr_bench.quality.understanding import Drawn
from dpr_train.prompts import PromptGrammar
from dpr_train.tasks import HABIT

__all__ = ["neutral_prompts", "strict_steering"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_NEUTRAL_USERS = 200
_STRICT_USERS = 3  # of each prompt


def neutral_prompts(subject: Subject, grammar: PromptGrammar) -> dict[str, Any]:
    """Every neutral test prompt, put to the same 200 users.

    Returns
    -------
    dict
        ``overlap``: share of the plain top ten that is still there; ``same``: lists that are the same in order, too;
        ``silent``: queries whose gates are all exactly 0; ``worst``: the prompts with the least overlap.
    """
    rng = np.random.default_rng([subject.seed, 23])
    users = _sample(len(subject.targets), _NEUTRAL_USERS, rng)
    texts = [template.text for template in grammar.templates["neutral"]]
    read = read_prompts(subject, [text for text in texts for _ in users], embed=False)
    asked = np.tile(users, len(texts))
    steering = steer(subject, asked, read)
    before = np.tile(top_tens(subject, users, backbone()), (len(texts), 1))
    after = top_tens(subject, asked, steered(subject, steering, users=asked))
    kept = ((after[:, :, None] == before[:, None]) & (after >= 0)[:, :, None]).any(2).mean(1)
    by_prompt = kept.reshape(len(texts), len(users)).mean(1)
    worst = [i for i in np.argsort(by_prompt, kind="stable")[:10] if by_prompt[i] < 1]
    return {
        "prompts": len(texts),
        "users": len(users),
        "overlap": float(kept.mean()),
        "same": float((after == before).all(1).mean()),
        "silent": float((steering.gates == 0).all(1).float().mean()),
        "worst": [{"prompt": texts[i], "overlap": float(by_prompt[i])} for i in worst],
    }


def strict_steering(subject: Subject, drawn: Sequence[Drawn]) -> dict[str, Any]:
    """Every test prompt that refuses something, put to users who have the habit it refuses.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    drawn : sequence of Drawn
        Test prompts of all kinds; those that refuse nothing are left out.

    Returns
    -------
    dict
        Shares of top tens that carry a refused tag: ``violation`` (strict), ``violation_soft``, ``violation_plain``,
        ``violation_understood`` (strict, of prompts whose refusals were all read). Shares of prompts:
        ``understood``, some wish was read; ``refusals_read``, all refusals were read as such. ``short``: lists of fewer
        than ten items.
    """
    rng = np.random.default_rng([subject.seed, 29])
    prompts = [d.prompt for d in drawn if d.prompt.refused]
    counts = recent_counts(subject.histories, subject.items.tags)
    users = np.concatenate([_with_habit(counts[:, p.refused[0]] >= HABIT, rng) for p in prompts])
    repeated = [p for p in prompts for _ in range(_STRICT_USERS)]
    read = read_prompts(subject, [p.text for p in repeated], embed=False)
    refused = np.zeros((len(repeated), subject.items.tags.shape[1]), dtype=np.bool_)
    for row, prompt in enumerate(repeated):
        refused[row, list(prompt.refused)] = True
    steering = steer(subject, users, read)
    wish = read.wishes(slice(None)).numpy() >= subject.wish_threshold  # (Q, G, 2)
    all_read = (wish[..., 1] | ~refused).all(1)
    strict = top_tens(subject, users, steered(subject, steering, read, users=users))
    soft = top_tens(subject, users, steered(subject, steering, users=users))
    violation = _violation(subject, strict, refused)
    return {
        "prompts": len(prompts),
        "queries": len(users),
        "violation": float(violation.mean()),
        "violation_understood": float(violation[all_read].mean()) if all_read.any() else float("nan"),
        "violation_soft": float(_violation(subject, soft, refused).mean()),
        "violation_plain": float(_violation(subject, top_tens(subject, users, backbone()), refused).mean()),
        "understood": float(wish.any((1, 2)).mean()),
        "refusals_read": float(all_read.mean()),
        "short": float((strict < 0).any(1).mean()),
    }


def _violation(subject: Subject, top: IntArray, refused: BoolArray) -> npt.NDArray[np.float64]:
    """Share of each top ten that carries any refused tag: int64 (Q, 10) and bool (Q, G) -> float64 (Q,)."""
    parts = []
    for part in chunks(len(top)):
        bad = refused[part].astype(np.float32) @ subject.items.tags.T.astype(np.float32) > 0
        parts.append(share_carrying(top[part], bad))
    return np.concatenate(parts)


def _with_habit(habit: BoolArray, rng: np.random.Generator) -> IntArray:
    """A few users with the habit, or any where nobody has it."""
    those = np.flatnonzero(habit)
    return rng.choice(those if len(those) else len(habit), _STRICT_USERS)


def _sample(count: int, size: int, rng: np.random.Generator) -> IntArray:
    return np.sort(rng.choice(count, min(size, count), replace=False))
