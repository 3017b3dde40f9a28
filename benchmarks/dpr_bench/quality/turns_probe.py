# Conversations, as the runtime merges them. This is the only section that measures a bundle rather than a checkpoint.
"""Wishes that stand after several turns, against simpler ways to read a conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dpr_bench.quality.frozen_wording import Conversation, conversations
from dpr_infer import Recommender, Wish

__all__ = ["merged_wishes_right", "turns_probe"]

_WAYS: dict[str, Callable[[Sequence[str]], str | list[str]]] = {
    "turns merged": list,
    "last turn only": lambda turns: turns[-1],
    "all turns joined": lambda turns: ". ".join(turn.rstrip(". ") for turn in turns),
}


def turns_probe(bundle: Path) -> dict[str, Any]:
    """Share of conversations whose wishes at the end are exactly those of the label.

    Parameters
    ----------
    bundle : Path
        Bundle folder.

    Returns
    -------
    dict
        ``right``: by way of reading, over all and by kind; ``wrong``: the conversations that merging got wrong;
        ``left_out``: conversations about tags that the bundle does not have.
    """
    recommender = Recommender(bundle)
    threshold, tags = recommender.manifest.wish_threshold, set(recommender.manifest.tags)
    usable = [c for c in conversations() if c.asked | c.refused <= tags]
    counts: dict[str, Counter[str]] = {way: Counter() for way in _WAYS}
    wrong = []
    for talk in usable:
        for way, reading in _WAYS.items():
            wishes = recommender.wishes(reading(talk.turns))
            right = merged_wishes_right(wishes, talk, threshold)
            counts[way][talk.kind] += right
            if way == "turns merged" and not right:
                wrong.append(
                    {"kind": talk.kind, "turns": list(talk.turns), "read": _shown(wishes, threshold)}
                )
    sizes = Counter(talk.kind for talk in usable)
    return {
        "conversations": len(usable),
        "left_out": len(conversations()) - len(usable),
        "sizes": dict(sizes),
        "right": {
            way: {
                "all": sum(found.values()) / max(1, len(usable)),
                **{kind: found[kind] / size for kind, size in sizes.items()},
            }
            for way, found in counts.items()
        },
        "wrong": wrong,
    }


def merged_wishes_right(wishes: Sequence[Wish], talk: Conversation, threshold: float) -> bool:
    """Whether the tags asked for and refused, at the threshold, are exactly those of the label."""
    asked = {wish.tag for wish in wishes if wish.asked >= threshold}
    refused = {wish.tag for wish in wishes if wish.refused >= threshold}
    return asked == talk.asked and refused == talk.refused


def _shown(wishes: Sequence[Wish], threshold: float) -> list[str]:
    return [("+" if wish.asked >= threshold else "-") + wish.tag for wish in wishes]
