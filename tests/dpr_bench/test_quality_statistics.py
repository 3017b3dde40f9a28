# Intervals cover what they should, pairing narrows them, clusters widen them, and the same data give the same figures.

from __future__ import annotations

import numpy as np
import pytest

from dpr_bench.quality.statistics import mean_interval, paired_by_cluster, paired_difference


def test_intervals_cover_the_true_mean_nearly_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = mean_interval(rng.normal(0.3, 1.0, 120))
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 199


def test_the_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(2).normal(0, 2, 2000)
    found = mean_interval(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 2 / np.sqrt(2000), rel=0.1)


def test_pairing_takes_out_what_both_share() -> None:
    rng = np.random.default_rng(3)
    shared = rng.normal(1, 1, 500)
    paired = paired_difference(shared + 0.1, shared)
    assert paired.difference.low == pytest.approx(0.1, abs=1e-4)
    assert paired.difference.high == pytest.approx(0.1, abs=1e-4)
    assert paired.percent.mean == pytest.approx(100 * 0.1 / shared.mean())
    unpaired = mean_interval(shared)
    assert unpaired.high - unpaired.low > 0.1


def test_a_system_equal_to_the_reference_differs_by_exactly_nothing() -> None:
    values = np.random.default_rng(4).random(50)
    found = paired_difference(values, values)
    assert (found.difference.low, found.difference.high, found.percent.mean) == (0, 0, 0)


def test_few_clusters_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    families = [f"family {n % 8}" for n in range(800)]
    effect = np.array([n % 8 for n in range(800)]) / 10
    reference = rng.random(800) + 1
    ours = reference + effect
    by_user, by_family = (
        paired_difference(ours, reference).difference,
        paired_by_cluster(ours, reference, families).difference,
    )
    assert by_family.mean == pytest.approx(by_user.mean)
    assert by_family.high - by_family.low > 3 * (by_user.high - by_user.low)


def test_the_same_values_give_the_same_interval() -> None:
    values = np.arange(30) / 30.0
    assert mean_interval(values) == mean_interval(values.copy())


def test_different_numbers_of_users_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        paired_difference(np.zeros(3), np.zeros(4))
