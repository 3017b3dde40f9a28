# The naive server: the same answers as the bundle's, by the model as it was trained.

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dpr_bench.serve.naive import build_naive_app
from dpr_bench.serve.naive_model import NaiveModel
from dpr_bench.serve.workload import make_prompts, make_requests
from dpr_infer import Recommender


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> NaiveModel:
    return NaiveModel(checkpoint, cache_size=2)


@pytest.fixture(scope="module", params=[False, True], ids=["loop", "pool"])
def client(model: NaiveModel, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with TestClient(build_naive_app(model, pool=request.param)) as started:
        yield started


@pytest.fixture(scope="module")
def recommender(bundle: Path) -> Recommender:
    return Recommender(bundle)


def test_it_answers_what_the_bundle_answers(client: TestClient, recommender: Recommender):
    histories = list(recommender.examples.values())
    prompts = make_prompts(recommender.manifest.tags)
    for request in make_requests(histories, prompts, 40):
        ours = recommender.query(request["history"], request["prompt"], request["k"])
        answer = client.post("/v1/recommend", json=request).json()
        assert [item["id"] for item in answer["items"]] == ours.items
        assert [item["score"] for item in answer["items"]] == pytest.approx(ours.scores.tolist(), abs=1e-3)
        assert [item["title"] for item in answer["items"]] == ours.titles
        assert [wish["tag"] for wish in answer["wishes"]] == [wish.tag for wish in ours.wishes]
        assert answer["history_truncated"] == ours.history_truncated


def test_a_history_that_is_too_long_is_cut_and_left_out_whole(client: TestClient, recommender: Recommender):
    history = list(recommender.items.ids)[:30]
    assert len(history) > recommender.manifest.history_limit
    answer = client.post("/v1/recommend", json={"history": history, "k": 1000}).json()
    assert answer["history_truncated"]
    assert set(history).isdisjoint(item["id"] for item in answer["items"])
    assert len(answer["items"]) == len(recommender.items) - len(history)


def test_a_new_user_gets_items(client: TestClient, recommender: Recommender):
    answer = client.post("/v1/recommend", json={}).json()
    assert [item["id"] for item in answer["items"]] == recommender.query([]).items


def test_unknown_items_are_refused(client: TestClient):
    reply = client.post("/v1/recommend", json={"history": ["nothing"]})
    assert reply.status_code == 422
    assert "nothing" in reply.text


def test_prompts_are_kept_until_others_come(model: NaiveModel):
    def cached(prompt: str) -> bool:
        return bool(model.recommend([], prompt, 1)["prompt_cached"])

    assert [cached(p) for p in ("a1", "b1", "a1", "c1", "a1", "b1")] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
