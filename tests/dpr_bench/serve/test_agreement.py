# Servers that do not answer the same are not compared in speed.

from __future__ import annotations

import json

import pytest

from dpr_bench.serve.agreement import check_agreement

REQUESTS = [{"history": [str(n)], "prompt": None if n % 2 else "a", "k": 10} for n in range(10)]


def says(items: list[int], status: int = 200):
    document = {"items": [{"id": str(item)} for item in items]}
    return lambda path, body: (status, {}, document)


def test_what_is_shared_is_measured(stub):
    def other(path: str, body: bytes) -> tuple[int, dict[str, str], object]:
        with_prompt = json.loads(body)["prompt"] is not None
        items = [1, 0, *range(2, 9), 99] if with_prompt else range(10)
        return 200, {}, {"items": [{"id": str(item)} for item in items]}

    found = check_agreement(stub(says(list(range(10)))).port, stub(other).port, REQUESTS)
    assert found.requests == 10
    assert found.shared == pytest.approx(0.95)
    assert (found.shared_without_prompt, found.worst, found.same_first) == (1.0, 0.9, 0.5)


def test_servers_that_differ_are_refused(stub):
    one, other = stub(says(list(range(10)))), stub(says([*range(8), 98, 99]))
    with pytest.raises(ValueError, match="must give the same items; they share 80%"):
        check_agreement(one.port, other.port, REQUESTS)


def test_an_answer_that_is_an_error_ends_it(stub):
    one, other = stub(says([1])), stub(says([1], status=500))
    with pytest.raises(ValueError, match="expected 200, got 500"):
        check_agreement(one.port, other.port, REQUESTS)
