# Faults, done to a tiny server; and how their outcomes are told.

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dpr_bench.kernel_progress import Silence
from dpr_bench.serve.faults import command
from dpr_bench.serve.faults.bundle import corrupt_bundle
from dpr_bench.serve.faults.command import FAULTS, faults_markdown, run_faults
from dpr_bench.serve.faults.disk import full_disk
from dpr_bench.serve.faults.keys import wrong_keys
from dpr_bench.serve.faults.outcome import FaultSetup, Outcome, counted, percentile_ms
from dpr_bench.serve.pages import describe_setup
from dpr_infer import Recommender


@pytest.fixture
def setup(hand_made: Path, tmp_path: Path) -> FaultSetup:
    recommender = Recommender(hand_made)
    return FaultSetup(
        bundle=hand_made,
        history=next(iter(recommender.examples.values())),
        tags=recommender.manifest.tags,
        folder=tmp_path,
        seconds=1.0,
    )


@pytest.mark.parametrize("fault", [full_disk, corrupt_bundle, wrong_keys])
def test_the_server_stands_it(fault, setup: FaultSetup):
    outcome = fault(setup)
    assert outcome.passed, outcome.line


def test_a_fault_that_cannot_be_measured_has_failed_and_the_others_are_tried(
    hand_made: Path, monkeypatch: pytest.MonkeyPatch
):
    def breaks(setup: FaultSetup) -> Outcome:
        """Never works."""
        raise ValueError("no server")

    def works(setup: FaultSetup) -> Outcome:
        assert setup.folder.is_dir()
        assert setup.seconds == 4.0
        return Outcome(
            name="works", done="Nothing.", expected="nothing", measured={"ms": 0.12345}, passed=None
        )

    monkeypatch.setattr(command, "FAULTS", (breaks, works))
    failed, other = run_faults(hand_made, Silence(), quick=True)
    assert (failed.passed, failed.measured) == (False, {"error": "no server"})
    assert other.line == "not tried works: ms: 0.1235"
    page = faults_markdown([failed, other], "the command", describe_setup())
    assert "| breaks | FAILED | error: no server |" in page
    assert "**works** Nothing. Expected: nothing." in page


def test_every_fault_says_what_it_is():
    assert all(fault.__doc__ for fault in FAULTS)
    assert len({fault.__name__ for fault in FAULTS}) == len(FAULTS) == 9


def test_figures():
    assert counted(Counter({503: 2, 200: 10})) == "10 x 200, 2 x 503"
    assert counted(Counter()) == "none"
    assert percentile_ms([], 50) == 0.0
    assert percentile_ms([0.5], 99) == 500.0
    assert percentile_ms([0.001 * n for n in range(101)], 99) == pytest.approx(99.0)
