# What a golden bundle must answer, by the formula of docs/design.md and the rules of docs/turns.md, in exact
# arithmetic: float64 holds every number here without rounding. It knows neither the runtime nor the graphs.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# The tag expressions of the queries.
WHERE = {"comedy & !war": lambda tags: "Comedy" in tags and "War" not in tags}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """All that a bundle is made of."""

    version: int
    ids: list[str]
    titles: list[str]
    tags: list[list[str]]
    collaborative: np.ndarray  # (N, dc)
    start: np.ndarray  # (dc,)
    trained: int
    tag_names: list[str]
    tag_vectors: np.ndarray  # (G, dw)
    tag_embeddings: np.ndarray  # (G, p)
    vocabulary: list[str]
    words: np.ndarray  # (V, p)
    nudge: np.ndarray  # (p, dc)
    bias: float
    history_limit: int
    prompt_limit: int
    text_words: np.ndarray | None = None  # (V, dt), where a text encoder is
    texts: tuple[str, ...] = ()
    text_limit: int = 0

    @property
    def vectors(self) -> np.ndarray:
        """v_i = [c_i ‖ w_i], float32 (N, dc + dw)."""
        number = {tag: g for g, tag in enumerate(self.tag_names)}
        side = np.zeros((len(self.ids), self.tag_vectors.shape[1]), np.float32)
        for row, tags in enumerate(self.tags):
            for tag in tags:
                side[row] += self.tag_vectors[number[tag]]
            if self.text_words is not None:
                tokens = _tokens(self, self.description(row))[: self.text_limit]
                side[row, -self.text_words.shape[1] :] += self.text_words[tokens].sum(axis=0)
        return np.concatenate([self.collaborative, side], axis=1)

    def description(self, row: int) -> str:
        """What a text encoder reads; here titles and texts have no sentence in common."""
        tags = f"{', '.join(self.tags[row])}. " if self.tags[row] else ""
        return f"{self.titles[row]}. {tags}{self.texts[row]}."


def answer(golden: Golden, query: dict[str, Any]) -> dict[str, Any]:
    """Return ids, scores and wishes for a query."""
    rows = [golden.ids.index(item) for item in query["history"]]
    read = [row for row in rows if row < golden.trained]
    kept = read[-golden.history_limit :]
    user = (
        golden.collaborative[kept].sum(axis=0, dtype=np.float64) if kept else golden.start.astype(np.float64)
    )
    tokens, asked, refused = _read(golden, query["prompt"])
    scores = _scores(golden, user, tokens, asked, refused, query.get("strength", 1.0))
    unwanted = set(rows)
    for row, tags in enumerate(golden.tags):
        if "where" in query and not WHERE[query["where"]](tags):
            unwanted.add(row)
        if query.get("steer") == "strict" and refused & set(tags):
            unwanted.add(row)
    allowed = [row for row in range(len(golden.ids)) if row not in unwanted]
    best = sorted(allowed, key=lambda row: (-scores[row], row))[: query["k"]]
    return {
        "items": [golden.ids[row] for row in best],
        "titles": [golden.titles[row] for row in best],
        "scores": [float(scores[row]) for row in best],
        "asked": sorted(asked),
        "refused": sorted(refused),
        "history_unread": len(rows) - len(read),
        "history_truncated": len(read) > golden.history_limit,
    }


def _scores(
    golden: Golden, user: np.ndarray, tokens: list[int], asked: set[str], refused: set[str], strength: float
) -> np.ndarray:
    vectors = golden.vectors.astype(np.float64)
    query = np.concatenate([user, np.zeros(golden.tag_vectors.shape[1])])
    if not asked | refused:
        return vectors @ query
    user_side = (
        golden.words[tokens].sum(axis=0, dtype=np.float64) @ golden.nudge.astype(np.float64) + user / 4
    )
    toward, away = (
        np.concatenate([user_side, golden.tag_vectors[[golden.tag_names.index(t) for t in tags]].sum(axis=0)])
        for tags in (sorted(asked), sorted(refused))
    )
    gate_toward, gate_away = (2.0 if tags else 0.0 for tags in (asked, refused))
    penalty = gate_away * np.maximum(vectors @ away + golden.bias, 0)
    return vectors @ (query + strength * gate_toward * toward) - strength * penalty


def _read(golden: Golden, prompt: Any) -> tuple[list[int], set[str], set[str]]:
    """Return the tokens, the tags asked for and those refused, of a text or of turns."""
    turns = [] if prompt is None else [prompt] if isinstance(prompt, str) else prompt
    readings = [_read_turn(golden, turn) for turn in turns]
    decided: dict[str, tuple[int, str]] = {}  # which turn decided about a tag, and how
    for number, (_, spoken) in enumerate(readings):
        decided |= {tag: (number, how) for tag, how in spoken.items()}
    held = {number for number, how in decided.values() if how != "released"}
    tokens = [token for number, (ids, _) in enumerate(readings) if number in held for token in ids]
    return (
        tokens[-golden.prompt_limit :],
        {tag for tag, (_, how) in decided.items() if how == "asked"},
        {tag for tag, (_, how) in decided.items() if how == "refused"},
    )


def _read_turn(golden: Golden, text: str) -> tuple[list[int], dict[str, str]]:
    words = text.lower().replace(",", " ").split()
    ids = _tokens(golden, text)[: golden.prompt_limit]
    spoken: dict[str, str] = {}
    for before, word in zip(["", *words], words[: golden.prompt_limit - 1], strict=False):
        tag = next((tag for tag in golden.tag_names if tag.lower() == word), None)
        how = {"no": "refused", "whatever": "released"}.get(before, "asked")
        if tag is not None and (how != "released" or golden.version >= 3):
            spoken[tag] = how
    return ids, spoken


def _tokens(golden: Golden, text: str) -> list[int]:
    number = {word: i for i, word in enumerate(golden.vocabulary)}
    words = text.lower().replace(",", " ").split()
    return [number["[CLS]"], *(number.get(word, number["[UNK]"]) for word in words)]
