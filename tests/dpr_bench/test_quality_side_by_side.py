# Checkpoints examined at the same time.

from __future__ import annotations

import os

import pytest

from dpr_bench.quality.side_by_side import side_by_side


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_keep_the_order(workers: int) -> None:
    shared = {n: n * n for n in range(5)}  # found by the forked processes without being sent
    assert side_by_side(lambda n: shared[n], list(range(5)), workers) == [0, 1, 4, 9, 16]


def test_two_workers_are_other_processes() -> None:
    assert os.getpid() not in side_by_side(lambda _: os.getpid(), [1, 2, 3], 2)
    assert side_by_side(lambda _: os.getpid(), [1, 2], 1) == [os.getpid()] * 2


def test_an_error_is_raised_here() -> None:
    def fails(n: int) -> int:
        raise ValueError(f"no {n}")

    with pytest.raises(ValueError, match="no 1"):
        side_by_side(fails, [1, 2], 2)
