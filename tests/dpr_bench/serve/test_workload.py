# Requests that load a server: many different ones, out of real histories.

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpr_bench.serve.workload import make_prompts, make_requests, write_bodies

TAGS = ["Action", "Comedy", "Drama", "War"]
HISTORIES = [[f"a{n}" for n in range(70)], [f"b{n}" for n in range(12)], ["c0"]]


@given(count=st.integers(1, 300), seed=st.integers(0, 99))
def test_requests_are_windows_of_the_histories(count: int, seed: int):
    prompts = make_prompts(TAGS, 8)
    requests = make_requests(HISTORIES, prompts, count, seed=seed)
    assert len(requests) == count
    for request in requests:
        history = request["history"]
        (source,) = (whole for whole in HISTORIES if whole[0][0] == history[0][0])
        first = source.index(history[0])
        assert history == source[first : first + len(history)]
        assert min(5, len(source)) <= len(history) <= 50
        assert request["prompt"] is None or request["prompt"] in prompts


def test_requests_are_many_different_ones_and_the_same_every_time():
    prompts = make_prompts(TAGS)
    requests = make_requests(HISTORIES, prompts, 512)
    assert requests == make_requests(HISTORIES, prompts, 512)
    assert len({json.dumps(request) for request in requests}) == 512
    without = sum(request["prompt"] is None for request in requests)
    assert 90 < without < 170  # a quarter
    used = [request["prompt"] for request in requests if request["prompt"] is not None]
    counts = [used.count(prompt) for prompt in prompts]
    assert max(counts) - min(counts) <= 1


def test_too_few_histories_are_refused():
    with pytest.raises(ValueError, match="make only 3 different requests; expected 4"):
        make_requests([["a"]], ["one", "two"], 4)


def test_prompts_are_distinct_and_name_every_tag():
    prompts = make_prompts(TAGS)
    assert len(prompts) == len(set(prompts)) == 4 + 4 + 4 * 3
    assert all(sum(tag.lower() in prompt for prompt in prompts) >= 5 for tag in TAGS)
    assert make_prompts(TAGS, 3) == prompts[:3]


def test_bodies_are_one_a_line(tmp_path: Path):
    requests = make_requests([["a\nb", "c"]], ["one\r\ntwo \u2028 three"], 2)
    lines = write_bodies(requests, tmp_path / "bodies").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines[:-1]] == requests
    assert lines[-1] == ""
