# The Open Inference Protocol, spoken by Triton's client to a server that listens.

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import tiny_bundle
from dpr_infer import Recommender
from live_server import LiveServer, live_server

IDS = tiny_bundle.item_ids(40)
HISTORIES = [IDS[:3], [], [IDS[9]]]
PROMPTS = ["comedy", "", "no war, please"]


@pytest.fixture(scope="module")
def server(bundle_path) -> Iterator[LiveServer]:
    with live_server(bundle=str(bundle_path)) as running:
        yield running


@pytest.fixture
def client(server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as made:
        yield made


@pytest.fixture
def model(server) -> str:
    return server.services.served.name


def texts(rows: list[list[str]]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[*row, *[""] * (width - len(row))] for row in rows], dtype=np.object_).reshape(
        len(rows), width
    )


def tensor(name: str, datatype: str, values: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def inputs(*, binary: bool = True, **more: np.ndarray) -> list[triton.InferInput]:
    types = {"K": "INT32", "STRENGTH": "FP32"}
    given = {"HISTORY": texts(HISTORIES), "PROMPT": texts([[p] for p in PROMPTS])} | more
    return [tensor(name, types.get(name, "BYTES"), values, binary=binary) for name, values in given.items()]


def as_text(values: np.ndarray) -> list[list[str]]:
    return [[v.decode() if isinstance(v, bytes) else v for v in row] for row in values.tolist()]


def assert_answers(result: triton.InferResult, recommender: Recommender, k: int, **options) -> None:
    items, scores = as_text(result.as_numpy("ITEMS")), result.as_numpy("SCORES")
    assert scores.shape == (3, k)
    assert scores.dtype == np.float32
    for row, (history, prompt) in enumerate(zip(HISTORIES, PROMPTS, strict=True)):
        want = recommender.query(history, prompt, k, **options)
        n = len(want.items)
        assert items[row] == want.items + [""] * (k - n)
        np.testing.assert_allclose(scores[row, :n], want.scores, rtol=1e-5)


def test_default_settings_send_bytes_both_ways(client, model, recommender):
    result = client.infer(model, inputs())
    assert_answers(result, recommender, 10)
    assert result.as_numpy("TITLES") is None
    assert result.get_output("ITEMS")["parameters"]["binary_data_size"] > 0


def test_json_both_ways(client, model, recommender):
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("ITEMS", "SCORES")]
    result = client.infer(model, inputs(binary=False), outputs=outputs)
    assert_answers(result, recommender, 10)
    assert "parameters" not in result.get_output("ITEMS")


def test_one_output_in_json_and_one_in_bytes(client, model, recommender):
    outputs = [
        triton.InferRequestedOutput("TITLES", binary_data=False),
        triton.InferRequestedOutput("SCORES"),
        triton.InferRequestedOutput("ITEMS"),
    ]
    result = client.infer(model, inputs(), outputs=outputs)
    assert_answers(result, recommender, 10)
    titles = result.as_numpy("TITLES").tolist()
    assert titles[0] == recommender.query(HISTORIES[0], PROMPTS[0]).titles
    assert [output["name"] for output in result.get_response()["outputs"]] == ["TITLES", "SCORES", "ITEMS"]


@pytest.mark.parametrize("binary", [True, False])
def test_all_inputs(client, model, recommender, binary):
    given = inputs(
        binary=binary,
        K=np.array([30], np.int32),
        STRENGTH=np.array([0.5], np.float32),
        STEER=np.array(["strict"], np.object_),
        WHERE=np.array(["!action"], np.object_),
    )
    result = client.infer(model, given)
    assert_answers(result, recommender, 30, strength=0.5, steer="strict", where="!action")
    scores, items = result.as_numpy("SCORES"), as_text(result.as_numpy("ITEMS"))
    assert items[0][-1] == ""
    assert scores[0, -1] == -np.inf


def test_missing_scores_are_null_in_json(client, model):
    given = inputs(K=np.array([40], np.int32), WHERE=np.array(["war & !war"], np.object_))
    outputs = [triton.InferRequestedOutput("SCORES", binary_data=False)]
    result = client.infer(model, given, outputs=outputs)
    assert result.get_output("SCORES")["data"] == [None] * 120


def test_history_alone(client, model, recommender):
    result = client.infer(model, [tensor("HISTORY", "BYTES", texts([["", IDS[0], "", IDS[1]]]))])
    assert as_text(result.as_numpy("ITEMS")) == [recommender.query(IDS[:2]).items]


def test_new_users_need_no_column(client, model, recommender):
    for binary in (True, False):
        history = tensor("HISTORY", "BYTES", np.empty((2, 0), np.object_), binary=binary)
        result = client.infer(model, [history])
        assert as_text(result.as_numpy("ITEMS")) == [recommender.query([]).items] * 2


def test_parameters_and_request_id(client, model, recommender):
    history = tensor("HISTORY", "BYTES", texts([["nobody", IDS[0]]]))
    result = client.infer(
        model, [history], request_id="r-1", parameters={"unknown_items": "skip", "exclude_history": False}
    )
    response = result.get_response()
    assert response["id"] == "r-1"
    want = recommender.query([IDS[0]], exclude_history=False).items
    assert as_text(result.as_numpy("ITEMS")) == [want]


def test_metadata_and_health(client, server, model):
    version = server.services.served.version
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    assert client.is_model_ready(model, version)
    assert not client.is_model_ready(model, "0")
    assert not client.is_model_ready("other")
    about = client.get_server_metadata()
    assert about["name"] == "dpr-serve"
    assert about["extensions"] == ["binary_tensor_data"]
    described = client.get_model_metadata(model, version)
    assert described["versions"] == [version]
    assert {t["name"]: (t["datatype"], t["shape"]) for t in described["inputs"]} == {
        "HISTORY": ("BYTES", [-1, -1]),
        "PROMPT": ("BYTES", [-1, 1]),
        "K": ("INT32", [1]),
        "STRENGTH": ("FP32", [1]),
        "STEER": ("BYTES", [1]),
        "WHERE": ("BYTES", [1]),
    }
    assert [t["name"] for t in described["outputs"]] == ["ITEMS", "SCORES", "TITLES"]
    response = client.infer(model, inputs(), model_version=version).get_response()
    assert (response["model_name"], response["model_version"]) == (model, version)


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"HISTORY": texts([["nobody"], [], []])}, "422", "row 0: history must name items of the catalogue"),
        ({"PROMPT": texts([["comedy"]])}, "400", "PROMPT must have as many rows as HISTORY, 3; got 1"),
        (
            {"PROMPT": texts([["a\x00b"], [""], [""]])},
            "422",
            "row 0: prompt must not hold control characters",
        ),
        ({"K": np.array([0], np.int32)}, "422", "row 0: k must be int >= 1; got 0"),
        ({"K": np.array([-5], np.int32)}, "422", "row 0: k must be int >= 1; got -5"),
        ({"K": np.array([2**31 - 1], np.int32)}, "422", "at most"),
        ({"K": np.array([5, 5, 5], np.int32)}, "400", r"K must have the shape \[1\]; got \[3\]"),
        ({"STRENGTH": np.array([-1], np.float32)}, "422", "row 0: strength must be float >= 0"),
        ({"STRENGTH": np.array([np.inf], np.float32)}, "422", "row 0: strength must be"),
        ({"STRENGTH": np.array([np.nan], np.float32)}, "422", "row 0: strength must be"),
        ({"STEER": np.array(["hard"], np.object_)}, "422", 'row 0: steer must be one of "soft", "strict"'),
        ({"WHERE": np.array(["nope"], np.object_)}, "422", "nope"),
    ],
)
def test_wrong_values_are_told(client, model, more, status, message):
    with pytest.raises(InferenceServerException, match=message) as caught:
        client.infer(model, inputs(**more))
    assert caught.value.status() == status


def test_other_models_and_versions_are_told(client, model):
    with pytest.raises(InferenceServerException, match="the model is 'tiny'; got 'other'") as caught:
        client.infer("other", inputs())
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="the version of tiny is"):
        client.infer(model, inputs(), model_version="7")
    with pytest.raises(InferenceServerException, match="the version of tiny is"):
        client.get_model_metadata(model, "7")


def test_outputs_that_are_none_are_told(client, model):
    with pytest.raises(InferenceServerException, match="outputs must be of ITEMS, SCORES, TITLES"):
        client.infer(model, inputs(), outputs=[triton.InferRequestedOutput("OTHER")])
    with pytest.raises(InferenceServerException, match="may have the parameter binary_data"):
        client.infer(model, inputs(), outputs=[triton.InferRequestedOutput("ITEMS", class_count=3)])
    with pytest.raises(InferenceServerException, match="parameters must be of"):
        client.infer(model, inputs(), priority=3)


def test_compressed_bodies_are_refused(client, model):
    with pytest.raises(InferenceServerException, match="without Content-Encoding; got 'gzip'"):
        client.infer(model, inputs(), request_compression_algorithm="gzip")
