# What the catalogue has, and what serves.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from dpr_infer import Recommender

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]


def test_items_are_found_by_title(client: Client, recommender: Recommender):
    found = client.get("/v1/items", params={"q": "film 3", "limit": 4}).json()["items"]
    items = recommender.items
    assert [item["id"] for item in found] == [items.ids[row] for row in items.search("film 3", 4)]
    assert found[0].keys() == {"id", "title", "tags"}
    assert len(client.get("/v1/items", params={"q": "film"}).json()["items"]) == 10
    assert client.get("/v1/items", params={"q": "  !?"}).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "q must be given once in the query string; got it 0 times"),
        ("q=a&q=b", "got it 2 times"),
        ("q=" + "x" * 201, "q must have at most 200 characters; got 201"),
        ("q=a&limit=0", "limit must be an integer from 1 to 100; got '0'"),
        ("q=a&limit=101", "got '101'"),
        ("q=a&limit=1.5", "got '1.5'"),
        ("q=a&limit=", "got ''"),
        ("q=a&limit=%D9%A1", "limit must be an integer"),
        ("q=a&limit=1&limit=2", "limit must be an integer"),
    ],
)
def test_a_wrong_query_string(client: Client, query: str, detail: str):
    answer = client.get(f"/v1/items?{query}")
    assert answer.status_code == 422
    assert detail in answer.json()["detail"]


def test_one_item(client: Client):
    item = client.get("/v1/items/i100").json()
    assert item.pop("model")["name"] == "tiny"
    assert item == {"id": "i100", "title": "Film 0 (1950)", "tags": item["tags"]}
    for unknown in ("none", "a/b", "a%2Fb", "%00"):
        answer = client.get(f"/v1/items/{unknown}")
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:dpr:unknown-item"


def test_ids_with_slashes_and_other_signs_are_found(make_client: MakeClient, tmp_path: Any):
    import pyarrow as pa
    import pyarrow.parquet as pq

    import tiny_bundle

    folder = tiny_bundle.write_tiny_bundle(tmp_path / "odd", examples=0)
    table = pq.read_table(folder / "items.parquet")
    ids = ["films/1", "a b?c=d&e", "ü#", "50% off", *table["item_id"].to_pylist()[4:]]
    pq.write_table(table.set_column(0, "item_id", pa.array(ids)), folder / "items.parquet")
    tiny_bundle.reseal(folder)
    client = make_client(bundle=str(folder))
    from urllib.parse import quote

    for item in ids[:5]:
        assert client.get(f"/v1/items/{quote(item, safe='')}").json()["id"] == item
    assert client.get("/v1/items/films/1").json()["id"] == "films/1"


def test_examples(client: Client, recommender: Recommender):
    examples = client.get("/v1/examples").json()["examples"]
    assert {one["name"]: tuple(item["id"] for item in one["items"]) for one in examples} == dict(
        recommender.examples
    )


def test_the_model(client: Client, recommender: Recommender):
    model = client.get("/v1/model").json()
    manifest = recommender.manifest
    assert model["tags"] == list(manifest.tags)
    assert model["experts"] == [{"name": e.name, "role": e.role} for e in manifest.experts]
    assert model["items"] == 40
    assert model["licence"] == {"data": "made up", "weights": "made up", "redistributable": True}
    assert model["providers"] == ["CPUExecutionProvider"]
    assert model["users"] is True
    limits = model["limits"]
    assert (limits["k"], limits["requests"], limits["body_bytes"]) == (1000, 256, 2**20)
    assert (limits["history_read"], limits["prompt_tokens_read"]) == (10, 12)


def test_limits_that_are_told_hold(make_client: MakeClient):
    client = make_client(max_k=11, max_requests=2, max_body_bytes=2048)
    limits = client.get("/v1/model").json()["limits"]

    def status(**request: Any) -> int:
        return client.post("/v1/recommend", json=request).status_code

    assert (status(k=limits["k"]), status(k=limits["k"] + 1)) == (200, 422)
    assert (status(requests=[{}] * limits["requests"]), status(requests=[{}] * (limits["requests"] + 1))) == (
        200,
        422,
    )
    assert status(prompt="x" * limits["body_bytes"]) == 413
