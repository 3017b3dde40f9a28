# Wishes that no tag can express: an item is relevant if its own title or text says so.
"""Wishes about items' texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dpr_bench.quality.frozen_wording import TextWish, text_wishes
from dpr_bench.quality.metrics import best_rows, share_carrying
from dpr_bench.quality.prompt_reading import ReadPrompts, read_prompts, steer
from dpr_bench.quality.ranking import K, top_tens
from dpr_bench.quality.statistics import mean_interval
from dpr_bench.quality.subject import Items, Subject
from dpr_bench.quality.systems import (
    System,
    additive,
    backbone,
    steered,
    text_rerank,
    text_retrieval,
)
from dpr_train.metrics import ndcg, target_rank

__all__ = ["relevant_items", "text_probe", "text_summary"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_FEWEST = 5  # relevant items that a wish must have
_USERS = 200
_MOST_TARGETS = 500  # users of one wish whose target is relevant
_YEARS = re.compile(r"[0-9\[\]\-|]+")


def relevant_items(wish: TextWish, items: Items, tags: Sequence[str]) -> BoolArray:
    """Items that a wish is about, bool (N,).

    Whole words are looked for in title and text, case ignored; years in the title alone, because a text also tells when
    a story is set.
    """
    pattern = re.compile(rf"\b(?:{wish.about})\b", re.IGNORECASE)
    texts = items.titles if _YEARS.fullmatch(wish.about) else items.own_texts
    found = np.fromiter((bool(pattern.search(text)) for text in texts), np.bool_, len(texts))
    if wish.genre:
        if wish.genre not in tags:
            return np.zeros_like(found)
        found &= items.tags[:, tags.index(wish.genre)]
    return found


def text_probe(subject: Subject, weights: Mapping[str, float]) -> dict[str, Any]:
    """Put every wish about texts to users.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    weights : mapping of str to float
        Of additive steering for what is asked ("ask") and refused ("refuse"), as chosen on validation.

    Returns
    -------
    dict
        ``wishes``: one entry each, with figures by system; ``left_out``: those with fewer than five relevant items.
    """
    rng = np.random.default_rng([subject.seed, 31])
    everyone = np.arange(len(subject.targets))
    users, plain = _at_most(everyone, _USERS, rng), top_tens(subject, everyone, backbone())
    entries, left_out = [], []
    for wish in text_wishes():
        relevant = relevant_items(wish, subject.items, subject.model.config.tags)
        if relevant.sum() < _FEWEST:
            left_out.append(wish.prompt)
        else:
            probe = _Probe(subject, weights[wish.polarity], users, plain)
            entries.append(_entry(probe, wish, relevant, rng))
    return {"users": len(users), "weights": dict(weights), "wishes": entries, "left_out": left_out}


@dataclass(frozen=True)
class _Probe:
    """What the wishes of one polarity share.

    ``weight`` is that of additive steering, ``users`` are random, ``plain`` holds everyone's top ten without a prompt.
    """

    subject: Subject
    weight: float
    users: IntArray
    plain: IntArray


def _entry(probe: _Probe, wish: TextWish, relevant: BoolArray, rng: np.random.Generator) -> dict[str, Any]:
    read = read_prompts(probe.subject, [wish.prompt])
    entry: dict[str, Any] = {
        "prompt": wish.prompt,
        "section": wish.section,
        "polarity": wish.polarity,
        "relevant": int(relevant.sum()),
        "share_of_top": _share_of_top(probe, read, probe.users, relevant),
    }
    if wish.polarity == "ask":
        users = _at_most(np.flatnonzero(relevant[probe.subject.targets]), _MOST_TARGETS, rng)
        return entry | {"target_users": len(users), "ndcg": _ndcg(probe, read, users)}
    exposed = relevant[np.maximum(probe.plain, 0)] & (probe.plain >= 0)
    users = _at_most(np.flatnonzero(exposed.any(1)), _USERS, rng)
    return entry | {
        "exposed_users": len(users),
        "share_of_top_exposed": _share_of_top(probe, read, users, relevant),
    }


def text_summary(probes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over wishes, each weighing the same, of the means over seeds; intervals are over wishes.

    Parameters
    ----------
    probes : sequence of dict
        Of :func:`text_probe`, one a checkpoint.
    """
    wishes = list(zip(*(probe["wishes"] for probe in probes), strict=True))  # a wish's entries of all seeds
    asks = [same for same in wishes if same[0]["polarity"] == "ask"]
    refusals = [same for same in wishes if same[0]["polarity"] == "refuse"]
    return {
        "asks": len(asks),
        "refusals": len(refusals),
        "left_out": len(probes[0]["left_out"]),
        "asks_precision": _over_wishes(asks, "share_of_top"),
        "asks_ndcg": _over_wishes(asks, "ndcg"),
        "refusals_violation": _over_wishes(refusals, "share_of_top"),
        "refusals_violation_exposed": _over_wishes(refusals, "share_of_top_exposed"),
        "sections": {
            section: {
                name: found["mean"]
                for name, found in _over_wishes(
                    [same for same in asks if same[0]["section"] == section], "share_of_top"
                ).items()
            }
            for section in dict.fromkeys(same[0]["section"] for same in asks)
        },
    }


def _over_wishes(wishes: Sequence[Sequence[dict[str, Any]]], key: str) -> dict[str, Any]:
    usable = [same for same in wishes if all(entry[key] is not None for entry in same)]
    if not usable:
        return {}
    return {
        name: {
            "wishes": len(usable),
            **asdict(
                mean_interval(np.array([np.mean([entry[key][name] for entry in same]) for same in usable]))
            ),
        }
        for name in usable[0][0][key]
    }


def _systems(probe: _Probe, read: ReadPrompts, users: IntArray) -> Iterator[System]:
    subject = probe.subject
    every = read.take(np.zeros(len(users), dtype=np.int64))  # the one prompt, for each user
    steering = steer(subject, users, every)
    yield backbone()
    yield text_retrieval(subject, every)
    yield text_rerank(subject, every)
    yield additive(subject, every, probe.weight)
    yield steered(subject, steering, users=users)


@torch.no_grad()
def _by_system(
    probe: _Probe, read: ReadPrompts, users: IntArray, figure: Callable[[Tensor], FloatArray]
) -> dict[str, float] | None:
    """Mean of a figure of the masked scores, by system; None without users."""
    if not len(users):
        return None
    found = {}
    for system in _systems(probe, read, users):
        plain = probe.subject.plain(users)
        if system.by_rank:
            probe.subject.mask(plain, users)
        scores = probe.subject.mask(system.score(slice(0, len(users)), plain), users)
        found[system.name] = float(figure(scores).mean())
    return found


def _share_of_top(
    probe: _Probe, read: ReadPrompts, users: IntArray, relevant: BoolArray
) -> dict[str, float] | None:
    marked = relevant[None].repeat(len(users), 0)
    return _by_system(probe, read, users, lambda scores: share_carrying(best_rows(scores, K), marked))


def _ndcg(probe: _Probe, read: ReadPrompts, users: IntArray) -> dict[str, float] | None:
    targets = torch.from_numpy(probe.subject.targets[users])
    return _by_system(probe, read, users, lambda scores: ndcg(target_rank(scores, targets).numpy(), K))


def _at_most(users: IntArray, size: int, rng: np.random.Generator) -> IntArray:
    return users if len(users) <= size else np.sort(rng.choice(users, size, replace=False))
