# Asks one question twice, without the prompt and with it, and tells how far each item moved.

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from dpr_infer.prompt_text import Prompt, as_turns, spoken
from dpr_infer.recommender import Recommender
from dpr_infer.types import Recommendation

# The plain ranking is searched this deep for where a steered item came from.
PLAIN_DEPTH = 1_000


@dataclass(slots=True)
class Settings:
    """What stays the same from prompt to prompt; the fields are the options of `Recommender.query`."""

    k: int = 10
    where: str | None = None
    strength: float = 1.0
    steer: str = "soft"
    exclude: tuple[str, ...] = ()
    exclude_history: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one question.

    Attributes
    ----------
    history : tuple of str
        Item ids, oldest first.
    prompt : turn, sequence of turns, or None
        The prompt, or its turns; None or blank without one.
    settings : Settings
        The options.
    plain : Recommendation
        The plain ranking, up to 1000 deep or k, whichever is more.
    steered : Recommendation or None
        The ranking with the prompt; None without one.
    """

    history: tuple[str, ...]
    prompt: Prompt | None
    settings: Settings
    plain: Recommendation
    steered: Recommendation | None

    def plain_ranks(self) -> list[int | None]:
        """Return each steered item's rank (from 1) in the plain ranking; None if deeper than searched."""
        if self.steered is None:
            return []
        rank = {row: position for position, row in enumerate(self.plain.rows.tolist(), start=1)}
        return [rank.get(row) for row in self.steered.rows.tolist()]


def compare(
    recommender: Recommender, history: tuple[str, ...], prompt: Prompt | None, settings: Settings
) -> Comparison:
    """Query without and with a prompt.

    Parameters
    ----------
    recommender : Recommender
        The opened bundle.
    history : tuple of str
        Item ids, oldest first.
    prompt : turn, sequence of turns, or None
        The prompt, or its turns.
    settings : Settings
        The options.

    Returns
    -------
    Comparison
        Both answers, with timings.

    Raises
    ------
    DprError
        As `Recommender.query`.
    """
    options = asdict(settings)
    deep = options | {"k": max(settings.k, PLAIN_DEPTH)}
    plain = recommender.query(history, None, timings=True, **deep)
    neutral = not "".join(map(spoken, as_turns(prompt))).strip()
    steered = None if neutral else recommender.query(history, prompt, timings=True, **options)
    return Comparison(history, prompt, Settings(**options), plain, steered)


def as_document(comparison: Comparison, recommender: Recommender) -> dict[str, Any]:
    """Return a comparison as the JSON document that docs/cli.md describes.

    Parameters
    ----------
    comparison : Comparison
        The answers.
    recommender : Recommender
        The bundle that gave them.

    Returns
    -------
    dict
        Of strings, numbers, lists and dicts alone.
    """
    plain, steered = comparison.plain, comparison.steered
    answer = plain if steered is None else steered
    titles, row_of = recommender.items.titles, recommender.items.row_of
    return {
        "history": [{"item_id": i, "title": titles[row_of[i]]} for i in comparison.history],
        "prompt": comparison.prompt,
        "options": asdict(comparison.settings),
        "plain": _entries(plain, comparison.settings.k),
        "steered": None
        if steered is None
        else [
            entry | {"plain_rank": rank}
            for entry, rank in zip(
                _entries(steered, comparison.settings.k), comparison.plain_ranks(), strict=True
            )
        ],
        "wishes": [asdict(wish) for wish in answer.wishes],
        "gates": dict(answer.gates),
        "prompt_truncated": answer.prompt_truncated,
        "history_truncated": answer.history_truncated,
        "timings_ms": answer.timings_ms,
        "providers": {name: list(names) for name, names in recommender.graph_providers.items()},
    }


def _entries(answer: Recommendation, k: int) -> list[dict[str, Any]]:
    columns = zip(
        answer.items, answer.titles, answer.tags, answer.rows.tolist(), answer.scores.tolist(), strict=True
    )
    return [
        {"rank": rank, "item_id": item_id, "title": title, "tags": tags, "row": row, "score": score}
        for rank, (item_id, title, tags, row, score) in enumerate(list(columns)[:k], start=1)
    ]
