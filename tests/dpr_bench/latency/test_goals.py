# What counts as met, and the table that says so.
from __future__ import annotations

import pytest

from dpr_bench.latency.goals import GoalRow


@pytest.mark.parametrize(
    ("unit", "must", "aim", "measured", "met"),
    [
        ("x", 4, 8, 3.99, "no"),
        ("x", 4, 8, 4, "yes"),
        ("x", 4, 8, 8, "aim"),
        ("ms", 2, 0.8, 2.01, "no"),
        ("ms", 2, 0.8, 2, "yes"),
        ("ms", 2, 0.8, 0.8, "aim"),
        ("%", 0.01, 0.01, 0.0101, "no"),
        ("%", 0.01, 0.01, -0.5, "aim"),
    ],
)
def test_more_is_better_for_ratios_alone(unit: str, must: float, aim: float, measured: float, met: str):
    goal = GoalRow(case="a case", unit=unit, must=must, aim=aim, measured=measured)
    assert goal.met == met
    assert goal.as_dict()["met"] == met


def test_figures_are_shown_in_their_unit():
    def shown(unit: str, value: float) -> str:
        return GoalRow(case="", unit=unit, must=1, aim=1, measured=value).shown(value)

    assert shown("x", 4.216) == "4.22x"
    assert shown("ms", 1234.5) == "1,234 ms"
    assert shown("us", 60) == "60 us"
    assert shown("%", 0.0042) == "0.42 %"
