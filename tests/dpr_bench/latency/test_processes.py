# Fresh processes, and where the time of a query goes.
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dpr_bench.kernel_progress import Silence
from dpr_bench.latency import fresh_process
from dpr_bench.latency.contenders import Models
from dpr_bench.latency.processes import Memory, measure_memory, measure_start_up, write_questions
from dpr_bench.latency.questions import FreshPrompts, Questions
from dpr_bench.latency.steps import OTHER, measure_outside, measure_steps
from dpr_infer.stopwatch import STEPS


@pytest.fixture
def path(questions: Questions, tmp_path: Path) -> Path:
    return write_questions(questions, tmp_path / "questions.json")


def test_start_up(models: Models, path: Path):
    start = measure_start_up("tiny", models.float32, path, 1, Silence())
    assert 0 < start.first_ms < start.opening_ms < start.process_ms
    assert start.import_ms + start.opening_ms < start.process_ms
    assert 20 < start.rss_mib < 1000


def test_memory_is_sampled_to_the_end(models: Models, path: Path):
    memory = measure_memory(models.float32, path, 250, Silence())
    assert memory.samples[-1][0] == 250
    assert [queries for queries, _ in memory.samples[:3]] == [2, 4, 6]
    assert memory.opened <= memory.warm + 1
    assert abs(memory.growth) < 0.1


def test_the_caches_are_full_before_memory_counts(monkeypatch):
    said, asked = [], []
    recommender = SimpleNamespace(
        manifest=SimpleNamespace(history_limit=5),
        query=lambda history, prompt: asked.append((len(history), prompt)),
    )
    monkeypatch.setattr(fresh_process, "_say", lambda **values: said.append((values["queries"], len(asked))))
    fresh_process._answer(recommender, [["a"] * 7, ["a"] * 3], ["comedy", "war"], 200)
    warm_up = asked[: said[0][1]]
    assert said[0][0] == 0
    assert {length for length, _ in warm_up} >= set(range(6))
    assert sum(prompt.endswith(" ") for _, prompt in warm_up) >= 3 * 1024
    assert said[-1] == (200, len(warm_up) + 200)


def test_growth_is_the_most_that_was_held():
    memory = Memory(queries=3, opened=90.0, warm=100.0, samples=[(1, 99.0), (2, 103.0), (3, 100.0)])
    assert memory.growth == pytest.approx(0.03)
    assert memory.as_dict()["growth"] == memory.growth


def test_a_process_that_fails_is_told(path: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"a process that opens .* failed: .*BundleError"):
        measure_memory(tmp_path / "nothing", path, 10, Silence())
    with pytest.raises(ValueError, match=r"a process that opens .* failed: .*BundleError"):
        measure_start_up("nothing", tmp_path / "nothing", path, 1, Silence())


def test_steps_of_a_query(models: Models, questions: Questions):
    fresh = FreshPrompts(questions.prompts)
    rows = measure_steps(models.float32, questions, fresh, (1, 8), scale=0.05)
    assert [row.case for row in rows] == [
        "B = 1, prompt cached",
        "B = 1, prompt not cached",
        "B = 8, prompts cached",
    ]
    for row in rows:
        assert list(row.steps) == [*STEPS, OTHER]
        encoded = row.case == "B = 1, prompt not cached"
        assert (row.steps["encode_prompt"] > 0) == encoded
        assert min(row.steps["encode_history"], row.steps["fuse"], row.steps["score"], row.steps[OTHER]) > 0


def test_what_is_outside_engines_and_kernel(models: Models, questions: Questions):
    outside = measure_outside(models.float32, questions, scale=0.1)
    assert min(outside.engines, outside.kernel, outside.outside) > 0
    parts = outside.engines + outside.kernel + outside.outside
    assert parts == pytest.approx(outside.total, rel=0.5)  # medians, each of its own
