# Goals are judged from the results' JSON alone: the interval, the mean and the violation each count where they should.

from __future__ import annotations

from typing import Any

import pytest

from dpr_bench.quality.goals import GoalRow, check_goals


def row(
    task: str, wording: str, percent: tuple[float, float, float], *, violation: float | None = None
) -> dict[str, Any]:
    low, mean, high = percent
    return {
        "task": task,
        "choice": "hard",
        "system": "ours",
        "wording": wording,
        "masked": {
            "violation": violation,
            "versus": {"percent": {"mean": mean, "low": low, "high": high}},
        },
    }


def met(goals: list[GoalRow], beginning: str) -> str:
    (found,) = [goal.met for goal in goals if goal.goal.startswith(beginning)]
    return found


def test_without_results_nothing_is_measured() -> None:
    goals = check_goals({})
    assert {goal.met for goal in goals} == {"not measured"}
    assert len(goals) == 13


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        ((0.1, 2.0, 4.0), "yes"),
        ((1.0, 3.0, 5.0), "aim"),
        ((-0.1, 4.0, 9.0), "no"),
        ((-3.0, -2.0, -1.0), "no"),
    ],
)
def test_above_the_filter_means_the_whole_interval(
    percent: tuple[float, float, float], expected: str
) -> None:
    assert met(check_goals({"rows": [row("positive", "seen", percent)]}), "positive, seen") == expected


@pytest.mark.parametrize(
    ("percent", "violation", "expected"),
    [
        ((0.1, 0.5, 2.0), 0.008, "aim"),
        ((-1.0, 0.5, 2.0), 0.008, "yes"),
        ((-1.0, -0.5, 0.1), 0.008, "yes"),
        ((0.1, 0.5, 2.0), 0.011, "no"),
        ((-2.0, -1.0, -0.1), 0.0, "no"),
    ],
)
def test_negative_with_seen_wording(
    percent: tuple[float, float, float], violation: float, expected: str
) -> None:
    goals = check_goals({"rows": [row("negative", "seen", percent, violation=violation)]})
    assert met(goals, "negative, seen") == expected


@pytest.mark.parametrize(
    ("mean", "violation", "expected"),
    [(-4.9, 0.08, "yes"), (-5.1, 0.0, "no"), (0.1, 0.03, "aim"), (0.1, 0.09, "no")],
)
def test_negative_with_unseen_families(mean: float, violation: float, expected: str) -> None:
    one = row("negative", "unseen families", (-9.0, mean, 9.0), violation=violation)
    assert met(check_goals({"rows": [one]}), "negative, unseen") == expected


def test_shares_of_the_filter_and_of_prompts() -> None:
    goals = check_goals(
        {
            "rows": [
                row("positive", "unseen families", (-4.0, -2.9, -1.0)),
                row("compound", "unseen families", (-14.0, -10.1, -1.0)),
            ],
            "understanding": {
                "all": {"polarity": 0.97},
                "by_kind": {"compound": {"right": 0.84}},
                "zero_shot": {"all": {"right": 0.93, "exact": 0.7}, "never_named": {"right": 0.61}},
            },
            "neutral": {"overlap": 1.0},
            "strict": {"violation": 0.02, "understood": None},
        }
    )
    assert met(goals, "positive, unseen") == "yes"
    assert met(goals, "compound, unseen") == "no"
    assert met(goals, "polarity") == "yes"
    assert met(goals, "both wishes") == "no"
    assert met(goals, "zero-shot") == "aim"
    (zero_shot,) = [goal.measured for goal in goals if goal.goal.startswith("zero-shot")]
    assert "exactly that wish: 0.700" in zero_shot
    assert "never named in training: 0.610" in zero_shot
    assert met(goals, "neutral") == "aim"
    assert met(goals, "strict: violation") == "yes"
    assert met(goals, "strict: prompts") == "not measured"
