# What the model must reach and what it aims at, checked against the results' JSON and nothing else.
"""The goals of quality, and whether they are met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dpr_bench.quality.summary import Row, find_row

__all__ = ["GoalRow", "check_goals"]

Document = dict[str, Any]


@dataclass(frozen=True)
class GoalRow:
    """A goal and what was measured; ``met`` is "aim", "yes", "no" or "not measured"."""

    goal: str
    must: str
    aim: str
    measured: str
    met: str

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


def check_goals(document: Document) -> list[GoalRow]:
    """Compare the results with the goals: tags chosen hard, history masked, means over seeds.

    Parameters
    ----------
    document : dict
        As :meth:`QualityResults.document` gives it; sections may be missing.
    """
    return [*_ranking(document.get("rows", [])), *_reading(document), *_promises(document)]


def _ranking(rows: list[Row]) -> Iterable[GoalRow]:
    standard = find_row(rows, "standard", "backbone")
    ndcg, interval = None, ""
    if standard is not None:
        ndcg, found = standard["masked"]["ndcg"], standard["masked"]["ndcg_interval"]
        interval = f" [{found['low']:.4f}, {found['high']:.4f}]"
    yield _at_least("standard: NDCG@10", ndcg, 0.187, 0.198, form=".4f", note=interval)
    for task, aim in (("positive", 3.0), ("compound", 5.0)):
        yield _above_filter(rows, task, aim)
    yield _negative(rows, "seen", "negative, seen wording", _not_below_filter, 0.01, 0.01)
    yield _of_filter(rows, "positive", 97, "above it", lambda share: share > 100)
    yield _negative(rows, "unseen families", "negative, unseen families", _share_95, 0.08, 0.03)
    yield _of_filter(rows, "compound", 90, "at it", lambda share: share >= 100)


def _reading(document: Document) -> Iterable[GoalRow]:
    read = document.get("understanding")
    yield _at_least("polarity of a wish, unseen families", _get(read, "all", "polarity"), 0.96, 0.99)
    yield _at_least(
        "both wishes of a compound, unseen families",
        _get(read, "by_kind", "compound", "right"),
        0.85,
        0.95,
    )
    yield _at_least(
        "zero-shot tags: tag and polarity",
        _get(read, "zero_shot", "all", "right"),
        0.80,
        0.92,
        note=_zero_shot_note(read),
    )


def _promises(document: Document) -> Iterable[GoalRow]:
    yield _at_least("neutral prompts: overlap of the top 10", _get(document, "neutral", "overlap"), 0.95, 1.0)
    strict = document.get("strict")
    yield _at_most("strict: violation@10", _get(strict, "violation"), 0.04, 0.01)
    yield _at_least("strict: prompts understood", _get(strict, "understood"), 0.95, 0.99)


def _above_filter(rows: list[Row], task: str, aim: float) -> GoalRow:
    names = f"{task}, seen wording, against the filter", "interval above 0", f"+{aim:g} %"
    versus = _versus(rows, task, "seen")
    if versus is None:
        return GoalRow(*names, "-", "not measured")
    percent = versus["percent"]
    met = "aim" if percent["low"] > 0 and percent["mean"] >= aim else "yes" if percent["low"] > 0 else "no"
    return GoalRow(*names, _percent(percent), met)


def _of_filter(rows: list[Row], task: str, must: float, aim: str, is_aim: Callable[[float], bool]) -> GoalRow:
    names = f"{task}, unseen families, of the filter", f"{must:g} %", aim
    versus = _versus(rows, task, "unseen families")
    if versus is None:
        return GoalRow(*names, "-", "not measured")
    share = 100 + versus["percent"]["mean"]
    return GoalRow(*names, f"{share:.1f} %", "aim" if is_aim(share) else "yes" if share >= must else "no")


def _not_below_filter(percent: dict[str, float]) -> tuple[bool, bool]:
    """Must: the interval reaches 0; aim: all of it is above."""
    return percent["high"] >= 0, percent["low"] > 0


def _share_95(percent: dict[str, float]) -> tuple[bool, bool]:
    return percent["mean"] >= -5, percent["mean"] >= 0


def _negative(
    rows: list[Row],
    wording: str,
    name: str,
    judge: Callable[[dict[str, float]], tuple[bool, bool]],
    most: float,
    aimed: float,
) -> GoalRow:
    must = "not below the filter" if judge is _not_below_filter else "95 % of the filter"
    aim = "interval above 0" if judge is _not_below_filter else "at the filter"
    names = name, f"{must}, violation <= {most:g}", f"{aim}, violation <= {aimed:g}"
    versus, row = _versus(rows, "negative", wording), find_row(rows, "negative", "ours", wording)
    if versus is None or row is None:
        return GoalRow(*names, "-", "not measured")
    violation = row["masked"]["violation"]
    reached, above = judge(versus["percent"])
    met = "no" if not reached or violation > most else "aim" if above and violation <= aimed else "yes"
    return GoalRow(*names, f"{_percent(versus['percent'])}, violation {violation:.3f}", met)


def _at_least(
    name: str, value: float | None, must: float, aim: float, *, form: str = ".3f", note: str = ""
) -> GoalRow:
    names = name, f">= {must:g}", f">= {aim:g}"
    if value is None:
        return GoalRow(*names, "-", "not measured")
    return GoalRow(
        *names, f"{value:{form}}{note}", "aim" if value >= aim else "yes" if value >= must else "no"
    )


def _at_most(name: str, value: float | None, must: float, aim: float) -> GoalRow:
    names = name, f"<= {must:g}", f"<= {aim:g}"
    if value is None:
        return GoalRow(*names, "-", "not measured")
    return GoalRow(*names, f"{value:.3f}", "aim" if value <= aim else "yes" if value <= must else "no")


def _versus(rows: list[Row], task: str, wording: str) -> dict[str, Any] | None:
    row = find_row(rows, task, "ours", wording)
    return None if row is None else row["masked"]["versus"]


def _get(document: Document | None, *path: str) -> Any:
    for name in path:
        if document is None:
            return None
        document = document.get(name)
    return document


def _zero_shot_note(read: Document | None) -> str:
    """The two stricter readings: no other tag read beside it, and tags that training has no word for."""
    exact, never = _get(read, "zero_shot", "all", "exact"), _get(read, "zero_shot", "never_named", "right")
    notes = [] if exact is None else [f"exactly that wish: {exact:.3f}"]
    notes += [] if never is None else [f"tags never named in training: {never:.3f}"]
    return f" ({'; '.join(notes)})" if notes else ""


def _percent(percent: dict[str, float]) -> str:
    return f"{percent['mean']:+.1f} % [{percent['low']:+.1f}, {percent['high']:+.1f}]"
