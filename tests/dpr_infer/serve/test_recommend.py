# POST /v1/recommend: the same answers as the runtime's, one request or many, and what is refused.

from __future__ import annotations

import json
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer import Recommender
from dpr_infer.serve import schemas
from dpr_infer.serve.checks import MAX_ITEMS

Client = TestClient[Litestar]
PROMPT = "comedy, no war"


def ask(client: Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/v1/recommend", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(client: Client, request: Any) -> str:
    """The detail of the problem that a request of wrong content meets."""
    content = json.dumps(request)
    answer = client.post("/v1/recommend", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert set(problem) == {"type", "title", "status", "detail"}
    return str(problem["detail"])


def test_an_answer_is_the_recommenders(client: Client, recommender: Recommender, history: list[str]):
    options = {"k": 5, "exclude": ["i254"], "where": "!drama", "strength": 0.5, "steer": "strict"}
    expected = recommender.query(history, PROMPT, **options)
    answer = ask(client, history=history, prompt=PROMPT, **options)
    assert [item["id"] for item in answer["items"]] == expected.items
    assert [item["title"] for item in answer["items"]] == expected.titles
    assert [item["tags"] for item in answer["items"]] == expected.tags
    # The JSON has every digit of the float32 score.
    assert [item["score"] for item in answer["items"]] == expected.scores.tolist()
    assert [(w["tag"], w["asked"], w["refused"]) for w in answer["wishes"]] == [
        (w.tag, w.asked, w.refused) for w in expected.wishes
    ]
    assert answer["took_ms"] > 0
    assert "plain" not in answer
    assert "timings_ms" not in answer


def test_the_model_is_named(client: Client):
    served = client.app.state.services.served
    assert ask(client)["model"] == {"name": served.name, "version": served.version}


def test_defaults_are_those_of_the_runtime(client: Client, recommender: Recommender):
    assert [item["id"] for item in ask(client)["items"]] == recommender.query([]).items


@pytest.mark.parametrize(
    "prompt",
    [None, "", "comedy", ["comedy", "no war"], [], {"War": "refuse"}, ["comedy", {"Comedy": "release"}]],
)
def test_every_form_of_a_prompt(client: Client, recommender: Recommender, prompt: Any):
    expected = recommender.query(["i100"], prompt)
    assert [item["id"] for item in ask(client, history=["i100"], prompt=prompt)["items"]] == expected.items


def test_history_and_its_items(client: Client):
    ids = {item["id"] for item in ask(client, history=["i100"], k=40)["items"]}
    assert "i100" not in ids
    ids = {item["id"] for item in ask(client, history=["i100"], k=40, exclude_history=False)["items"]}
    assert "i100" in ids


def test_a_long_history_and_prompt_are_cut_and_it_is_said(client: Client, recommender: Recommender):
    answer = ask(client, history=["i100"] * 11, prompt="comedy " * 20)
    assert answer["history_truncated"]
    assert answer["prompt_truncated"]
    assert not ask(client, history=["i100"])["history_truncated"]


def test_an_explanation(client: Client, recommender: Recommender, history: list[str]):
    answer = ask(client, history=history, prompt=PROMPT, k=5, explain=True)
    plain = recommender.query(history, None, 1000)
    assert [item["id"] for item in answer["plain"]] == plain.items[:5]
    assert [item["score"] for item in answer["plain"]] == pytest.approx(plain.scores[:5].tolist(), rel=1e-4)
    assert any("Comedy" in item["tags"] for item in answer["items"])
    for item in answer["items"]:
        assert item["plain_rank"] == plain.items.index(item["id"]) + 1
        assert item["asked"] == [tag for tag in item["tags"] if tag == "Comedy"]
        assert item["refused"] == [tag for tag in item["tags"] if tag == "War"]
    assert set(answer["timings_ms"]) >= {"encode_history", "score", "total"}


def test_a_strict_answer_may_be_shorter_than_the_plain_one(client: Client):
    answer = ask(client, prompt={"Drama": "refuse"}, steer="strict", k=40, explain=True)
    assert len(answer["plain"]) == 40 > len(answer["items"]) > 0


def test_many_requests_are_answered_in_order(client: Client, recommender: Recommender):
    requests = [
        {"history": ["i100"], "k": 2},
        {"prompt": PROMPT, "k": 7, "explain": True},
        {"where": "war", "k": 3},
    ]
    answers = ask(client, requests=requests)["answers"]
    alone = [ask(client, **request) for request in requests]
    assert [[item["id"] for item in answer["items"]] for answer in answers] == [
        [item["id"] for item in answer["items"]] for answer in alone
    ]
    assert ["plain" in answer for answer in answers] == [False, True, False]
    assert all("model" not in answer for answer in answers)


def test_no_request_has_no_answer(client: Client):
    assert ask(client, requests=[])["answers"] == []


def test_one_wrong_request_of_many_fails_all_and_is_named(client: Client):
    requests: list[dict[str, Any]] = [{}, {"history": ["i100", "none"]}, {"k": 10_000_000}]
    assert refused(client, {"requests": requests}).startswith("requests[1].history must name items")
    assert "requests[1].k must be at most 1000" in refused(client, {"requests": [{}, requests[2]]})
    assert "requests[0].where" in refused(client, {"requests": [{"where": "nothing"}, {}]})
    assert "requests[1].prompt" in refused(client, {"requests": [{}, {"prompt": {"Nothing": "ask"}}]})


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        ({"k": 0}, "k must be int >= 1; got 0"),
        ({"k": "10"}, "k must be int; got '10'"),
        ({"k": True}, "k must be int; got true"),
        ({"k": 1001}, "k must be at most 1000, this server's limit; got 1001"),
        ({"history": "i100"}, "history must be array | null; got 'i100'"),
        ({"history": ["i100", 5]}, "history[1] must be str; got 5"),
        ({"history": [""]}, "history[0] must be str of length >= 1; got ''"),
        ({"exclude": ["none"]}, "exclude must name items of the catalogue; unknown: 'none'"),
        ({"strength": -0.5}, "strength must be float >= 0.0; got -0.5"),
        ({"strength": 1e9}, "strength must be float <= 1000.0; got 1000000000.0"),
        ({"steer": "hard"}, 'steer must be one of "soft", "strict"; got \'hard\''),
        ({"unknown_items": "no"}, 'unknown_items must be one of "error", "skip"; got \'no\''),
        ({"prompt": {"War": "no"}}, 'prompt must be one of "ask", "refuse", "release"; got \'no\''),
        ({"prompt": {"war": "ask"}}, "'war' is none"),
        ({"prompt": ["a"] * 33}, "prompt must be array of length <= 32; got a list of 33"),
        ({"prompt": "x" * 10_001}, "of 10001 characters"),
        ({"prompt": "a\x00b"}, "prompt must not hold control characters; character 1 is U+0000"),
        ({"prompt": ["ok", "\x1b[2J"]}, "prompt[1] must not hold control characters"),
        ({"where": "comedy & "}, "where: character"),
        ({"where": "comdy"}, "there is 'Comedy'"),
        ({"where": "(" * 100 + "war" + ")" * 100}, "where must nest at most 64 deep"),
        ({"where": "x" * 5000}, "where must be str of length <= 4096"),
        (
            {"prompts": "comedy"},
            "the body has a field 'prompts' that is none; there are history, user, prompt",
        ),
        ({"requests": [{"kk": 1}]}, "requests[0] has a field 'kk' that is none; there are history, user"),
        ({"history": [], "user": "u"}, "history and user exclude each other; got both"),
        ({"requests": [{}], "k": 3}, "requests stands alone; got k beside it"),
        ({"requests": [{}] * 257}, "requests must have at most 256 entries, this server's limit; got 257"),
        ([], "the body must be object; got a list of 0"),
        (None, "the body must be object; got null"),
    ],
)
def test_wrong_content_names_field_expectation_and_what_was_got(client: Client, request_: Any, detail: str):
    assert detail in refused(client, request_)


def test_many_long_answers_are_refused(client: Client):
    requests = [{"k": 1000, "explain": True}] * (MAX_ITEMS // 2000)
    assert len(ask(client, requests=requests)["answers"]) == len(requests)
    assert f"got {MAX_ITEMS + 1}" in refused(client, {"requests": [*requests, {"k": 1}]})


def test_ids_of_the_longest_length_are_looked_up(client: Client):
    assert "unknown" in refused(client, {"history": ["x" * schemas.MAX_NAME]})
    assert "must be str of length <= 200" in refused(client, {"history": ["x" * (schemas.MAX_NAME + 1)]})


def test_unknown_items_may_be_skipped(client: Client, recommender: Recommender):
    answer = ask(client, history=["none", "i100"], exclude=["none"], unknown_items="skip")
    assert [item["id"] for item in answer["items"]] == recommender.query(["i100"]).items


def test_problems_have_types_for_programs(client: Client):
    types = {
        "urn:dpr:unknown-item": {"history": ["none"]},
        "urn:dpr:where": {"where": "("},
        "urn:dpr:unknown-tag": {"prompt": {"None": "ask"}},
        "about:blank": {"k": 0},
    }
    for kind, request in types.items():
        assert client.post("/v1/recommend", json=request).json()["type"] == kind


def test_long_ids_are_not_echoed_whole(client: Client):
    detail = refused(client, {"history": ["y" * 200] * 1000})
    assert len(detail) < 400


def test_a_cached_prompt_says_so(client: Client):
    ask(client, prompt="something please")
    assert ask(client, prompt="something please")["prompt_cached"]
