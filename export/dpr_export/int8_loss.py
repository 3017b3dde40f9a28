# What an int8 prompt encoder does to understanding and to recommendations, measured before a bundle is left with it;
# and the limit that every quantised part of a bundle keeps.
"""int8 against float32 on validation wording, and the limit to what may be lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dpr_export.errors import ExportError
from dpr_export.sample_histories import sample_histories
from dpr_infer import Recommendation, Recommender
from dpr_infer.engine import Engine
from dpr_infer.engines.onnx_engine import OnnxEngine
from dpr_infer.engines.providers import CPU
from dpr_infer.manifest import Manifest
from dpr_train.evaluate.understood import Understood, draw_prompts
from dpr_train.prompts import LabelledPrompt, PromptGrammar, load_corpus

__all__ = [
    "INT8_LOSS",
    "Int8Loss",
    "Int8LossError",
    "K",
    "Loss",
    "check_int8_loss",
    "draw_wishes",
    "measure_int8_loss",
    "obedience",
    "overlap",
    "plain_and_int8",
]

# Largest loss by default, of every figure and for both parts. On MovieLens-1M the encoder that ships changes .035 of
# the top ten, and MovieLens's backbones .01, of random histories .02 (docs/engines.md).
INT8_LOSS = 0.05
_SEED = 20
_OF_EACH_KIND = 50  # prompts of each kind and wording
_HISTORIES = 64
K = 10


class Int8LossError(ExportError):
    """int8 loses more than is allowed."""


@dataclass(frozen=True, kw_only=True)
class Loss(ABC):
    """Figures of a quantised part of a bundle, each with what the limit is about."""

    part: ClassVar[str]
    way_out: ClassVar[str]  # options that do without it

    @property
    @abstractmethod
    def measured_on(self) -> str:
        """What was asked, for messages."""

    @property
    @abstractmethod
    def losses(self) -> dict[str, float]:
        """What the limit is about, by name; a gain is negative."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest, four digits."""
        return {
            name: [round(v, 4) for v in value] if isinstance(value, tuple) else round(value, 4)
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Int8Loss(Loss):
    """What was measured; shares in [0, 1].

    Parameters
    ----------
    prompts, queries : int
        How many validation prompts were read, and how many of them were asked for recommendations.
    wishes_changed : float
        Share of the prompts off which other wishes are read than with float32.
    polarity : (float, float)
        Of the wishes of the prompts that were read at all, those with the right polarity: float32, int8.
    understood : (float, float)
        Share of the prompts of which exactly the wishes were read: float32, int8.
    overlap : float
        Mean share of the ten best items that both have in common.
    obedience : (float, float)
        Mean share of the ten best items that have a tag that was asked for, and none that was refused: float32, int8.
    """

    part: ClassVar[str] = "prompt encoder"
    way_out: ClassVar[str] = "--prompt-encoder fp32"

    prompts: int
    wishes_changed: float
    polarity: tuple[float, float]
    understood: tuple[float, float]
    queries: int
    overlap: float
    obedience: tuple[float, float]

    @property
    def measured_on(self) -> str:
        """What was asked."""
        return f"{self.prompts} validation prompts"

    @property
    def losses(self) -> dict[str, float]:
        """What the limit is about, by name; a gain is negative."""
        return {
            "prompts whose wishes change": self.wishes_changed,
            "polarity lost": self.polarity[0] - self.polarity[1],
            "top 10 changed": 1 - self.overlap,
            "obedience lost": self.obedience[0] - self.obedience[1],
        }


def check_int8_loss(loss: Loss, limit: float) -> None:
    """Refuse a loss beyond ``limit``.

    Raises
    ------
    Int8LossError
        Names every figure that exceeds the limit, and what to do.
    """
    over = {name: value for name, value in loss.losses.items() if not value <= limit}  # NaN is too much
    if over:
        figures = ", ".join(
            f"{name}: expected at most {limit:.3f}, got {value:.3f}" for name, value in over.items()
        )
        raise Int8LossError(
            f"the int8 {loss.part} loses too much on {loss.measured_on} ({figures}); "
            f"export with {loss.way_out}, or allow more with --int8-loss"
        )


def measure_int8_loss(folder: Path, plain_folder: Path) -> Int8Loss:
    """Compare a bundle with itself, its prompt encoder in float32.

    Parameters
    ----------
    folder : Path
        A whole bundle whose prompt encoder is quantised.
    plain_folder : Path
        Holds the graph that it was made from, under the same name.
    """
    pair = plain_and_int8(folder, plain_folder, "prompt_encoder")
    prompts = _prompts(pair[0].manifest.tags)
    read = [_read(recommender, prompts) for recommender in pair]
    changed = np.mean([(a.asked, a.refused) != (b.asked, b.refused) for a, b in zip(*read, strict=True)])
    chosen, asked_of = draw_wishes(pair[0])
    found = [r.query_batch(asked_of, [p.text for p in chosen], k=K) for r in pair]
    obeyed = [
        obedience(pair[0].manifest.tags, chosen, [answer.tags for answer in answers]) for answers in found
    ]
    return Int8Loss(
        prompts=len(prompts),
        wishes_changed=float(changed),
        polarity=(_polarity(read[0]), _polarity(read[1])),
        understood=(_understood(read[0]), _understood(read[1])),
        queries=len(chosen),
        overlap=overlap(*found),
        obedience=(obeyed[0], obeyed[1]),
    )


def draw_wishes(recommender: Recommender) -> tuple[list[LabelledPrompt], list[list[str]]]:
    """Draw prompts of the validation wording that wish for something, evenly chosen, and a history for each."""
    wished = [prompt for prompt in _prompts(recommender.manifest.tags) if prompt.spans]
    chosen = [wished[i] for i in np.linspace(0, len(wished) - 1, min(len(wished), 2 * _HISTORIES), dtype=int)]
    histories = sample_histories(recommender, _HISTORIES, seed=_SEED)[0]
    return chosen, [histories[i % len(histories)] for i in range(len(chosen))]


def plain_and_int8(folder: Path, plain_folder: Path, *graphs: str) -> tuple[Recommender, Recommender]:
    """Open a bundle twice: with the float32 ``graphs`` that lie in ``plain_folder``, and as it is."""

    def plain(of: Path, manifest: Manifest, name: str) -> Engine:
        place = plain_folder if name in graphs else of
        return OnnxEngine(place, manifest, name, threads=1, providers=[CPU], allow_fallback=False)

    return Recommender(folder, engine=plain), Recommender(folder)


def overlap(some: Sequence[Recommendation], others: Sequence[Recommendation]) -> float:
    """Mean share of the first answers' items that the second have, too; of an answer without items, all."""
    pairs = zip(some, others, strict=True)
    return float(
        np.mean([len(set(a.items) & set(b.items)) / len(a.items) if a.items else 1 for a, b in pairs])
    )


def _prompts(tags: Sequence[str]) -> list[LabelledPrompt]:
    """Validation wording about a catalogue's tags: with words that training knows, and with words of its own."""
    corpus, validation = load_corpus(), load_corpus("validation")
    prompts: list[LabelledPrompt] = []
    for words, meaning in ((corpus, 0.0), (validation, 0.25)):
        grammar = PromptGrammar(validation, tags, words=words)
        drawn = draw_prompts(grammar, np.random.default_rng(_SEED), _OF_EACH_KIND, meaning=meaning)
        prompts += [prompt for kind in drawn.values() for prompt in kind]
    return prompts


def _read(recommender: Recommender, prompts: Sequence[LabelledPrompt]) -> list[Understood]:
    """The wishes of every prompt, as the runtime reports them."""
    number = {tag: g for g, tag in enumerate(recommender.manifest.tags)}
    threshold = recommender.manifest.wish_threshold
    read = []
    for prompt in prompts:
        wishes = recommender.wishes(prompt.text)
        asked = frozenset(number[w.tag] for w in wishes if w.asked >= threshold)
        refused = frozenset(number[w.tag] for w in wishes if w.refused >= threshold)
        read.append(Understood(prompt, asked, refused))
    return read


def _understood(read: Sequence[Understood]) -> float:
    return sum(u.right for u in read) / len(read)


def _polarity(read: Sequence[Understood]) -> float:
    kept, turned = sum(u.kept for u in read), sum(u.turned for u in read)
    return kept / max(1, kept + turned)


def obedience(
    tags: Sequence[str], prompts: Sequence[LabelledPrompt], lists: Sequence[Sequence[Sequence[str]]]
) -> float:
    """Mean share of items, given as their tags, that have one that a prompt asks for and none that it refuses."""
    shares = []
    for prompt, items in zip(prompts, lists, strict=True):
        asked, refused = ({tags[g] for g in numbers} for numbers in (prompt.asked, prompt.refused))
        obeys = [(not asked or bool(asked & set(of))) and not refused & set(of) for of in items]
        shares.append(sum(obeys) / max(1, len(obeys)))
    return sum(shares) / max(1, len(shares))
