# Tensors as bytes of strangers: whatever they are, they are read or refused in the protocol's form.

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny_bundle
from dpr_infer.serve.inference_calls import InferCall, read_call
from dpr_infer.serve.problems import Problem

IDS = tiny_bundle.item_ids(40)
HEADER = "Inference-Header-Content-Length"


def texts(*values: bytes) -> bytes:
    return b"".join(len(value).to_bytes(4, "little") + value for value in values)


def tensor(
    name: str = "HISTORY", datatype: str = "BYTES", shape: Any = (1, 2), **more: Any
) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def behind(size: Any, **more: Any) -> dict[str, Any]:
    return tensor(parameters={"binary_data_size": size}, **more)


def body(*inputs: Any, binary: bytes = b"", **more: Any) -> tuple[bytes, str | None]:
    head = json.dumps({"inputs": list(inputs), **more}).encode()
    return head + binary, str(len(head)) if binary else None


def read(*inputs: Any, binary: bytes = b"", rows: int = 8, **more: Any) -> InferCall:
    return read_call(*body(*inputs, binary=binary, **more), rows)


HISTORY = tensor(data=["a", "b"])
TWO = texts(b"a", b"b")

HOSTILE: list[tuple[list[Any], bytes, str]] = [
    # names, datatypes, shapes
    (
        [tensor(name="X", data=[])],
        b"",
        "inputs must be of HISTORY, PROMPT, K, STRENGTH, STEER, WHERE; got 'X'",
    ),
    ([HISTORY, HISTORY], b"", "HISTORY must be given once"),
    ([], b"", "inputs must have HISTORY"),
    ([tensor(datatype="INT64", data=[1, 2])], b"", "HISTORY must be BYTES; got 'INT64'"),
    ([HISTORY, tensor("K", "FP32", [1], data=[1.0])], b"", "K must be INT32; got 'FP32'"),
    ([tensor(shape=[2], data=["a", "b"])], b"", r"HISTORY must have the shape \[-1, -1\]; got \[2\]"),
    ([tensor(shape=[1, 2, 1], data=["a", "b"])], b"", r"got \[1, 2, 1\]"),
    ([tensor(shape=[-1, -2], data=["a", "b"])], b"", r"got \[-1, -2\]"),
    ([tensor(shape=[1, -1], data=[])], b"", r"got \[1, -1\]"),
    ([tensor(shape=[], data=[])], b"", r"got \[\]"),
    ([tensor(shape=[1.5, 2], data=["a", "b"])], b"", "shape"),
    ([tensor(shape=[True, 2], data=["a", "b"])], b"", "shape"),
    (
        [HISTORY, tensor("PROMPT", shape=[1, 2], data=["a", "b"])],
        b"",
        r"PROMPT must have the shape \[-1, 1\]",
    ),
    # data in the JSON
    ([tensor()], b"", "HISTORY must have either data or the parameter binary_data_size"),
    ([tensor(data=["a"])], b"", "data of HISTORY must be 2 elements, as its shape has it; got 1"),
    ([tensor(data=["a", "b", "c"])], b"", "got 3"),
    ([tensor(shape=[10**9, 10**9], data=["a"])], b"", f"must be {10**18} elements"),
    ([tensor(data=[["a", "b"], ["c", "d"]])], b"", "data of HISTORY must be 1 rows of 2"),
    ([tensor(data=[["a"], ["b"]])], b"", "data of HISTORY must be 1 rows of 2"),
    ([tensor(data=[["a", ["b"]]])], b"", r"data of HISTORY\[1\] must be a text; got \['b'\]"),
    ([tensor(data=["a", 7])], b"", r"data of HISTORY\[1\] must be a text; got 7"),
    ([tensor(data=["a", None])], b"", "must be a text; got None"),
    ([HISTORY, tensor("K", "INT32", [1], data=[True])], b"", "must be an integer of 32 bits; got True"),
    ([HISTORY, tensor("K", "INT32", [1], data=[2**31])], b"", "must be an integer of 32 bits"),
    ([HISTORY, tensor("K", "INT32", [1], data=[5.0])], b"", "must be an integer of 32 bits; got 5.0"),
    ([HISTORY, tensor("STRENGTH", "FP32", [1], data=[10**60])], b"", "must be a number of 32 bits"),
    ([HISTORY, tensor("STRENGTH", "FP32", [1], data=["1"])], b"", "must be a number of 32 bits"),
    # bytes behind the JSON
    ([tensor(data=["a", "b"], parameters={"binary_data_size": 10})], TWO, "must have either data or"),
    ([behind(10)], TWO[:-1], "binary_data_size of HISTORY must be from 0 to 9"),
    ([behind(9)], TWO, r"HISTORY\[1\] must end within its 9 bytes"),
    ([behind(3)], TWO, r"HISTORY\[0\] must end within its 3 bytes"),
    ([behind(10)], TWO + b"x", "must be those of the inputs, 10 as binary_data_size has it; got 11"),
    ([behind(-1)], TWO, "must be from 0 to 10"),
    ([behind(2**70)], TWO, "must be from 0 to 10"),
    ([behind(True)], TWO, "got True"),
    ([behind("10")], TWO, "got '10'"),
    ([behind(10.0)], TWO, "got 10.0"),
    ([behind(5)], texts(b"a"), "HISTORY must have 2 elements, as its shape has it; got 1"),
    ([behind(15)], texts(b"a", b"b", b"c"), "HISTORY must have 2 elements, as its shape has it; got more"),
    ([behind(10, shape=[2**40, 2**40])], TWO, f"must have {2**80} elements"),
    ([behind(10)], b"\xff\xff\xff\xff" + b"x" * 6, r"HISTORY\[0\] must end within"),
    ([behind(10)], texts(b"a", b"\xff"), r"HISTORY\[1\] must be UTF-8"),
    ([HISTORY, behind(3, name="K", datatype="INT32", shape=[1])], b"abc", "K must have 4 bytes; got 3"),
    ([HISTORY, behind(8, name="STRENGTH", datatype="FP32", shape=[1])], b"x" * 8, "must have 4 bytes; got 8"),
    ([tensor(data=["a", "b"], parameters={"shared_memory_region": "x"})], b"", "may have the parameter"),
]


@pytest.mark.parametrize(("inputs", "binary", "message"), HOSTILE)
def test_hostile_tensors_are_refused(inputs, binary, message):
    with pytest.raises(Problem, match=message) as caught:
        read(*inputs, binary=binary)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("-1", "must be a number of bytes; got '-1'"),
        ("abc", "must be a number of bytes"),
        ("", "must be a number of bytes"),
        ("9" * 30, "must be a number of bytes"),
        ("٣", "must be a number of bytes"),
        ("100000", "must be at most the body's length"),
        ("5", "must begin with JSON in UTF-8, 5 bytes"),
        ("0", "must begin with JSON in UTF-8, 0 bytes"),
    ],
)
def test_hostile_lengths_of_the_json_are_refused(header, message):
    with pytest.raises(Problem, match=message) as caught:
        read_call(body(HISTORY)[0], header, 8)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must begin with JSON"),
        (b"\xff\xfe", "must begin with JSON"),
        (b'{"inputs": [{"name": "HISTORY", "data": ' + b"[" * 100_000, "it nests too deep"),
        (b"[]", "the body must be object; got a list of 0"),
        (b"{}", "the body must have the field 'inputs'"),
        (b'{"inputs": [], "more": 1}', "the body has a field 'more' that is none"),
        (b'{"inputs": [{"name": "HISTORY"}]}', r"inputs\[0\] must have the field 'shape'"),
        (b'{"inputs": 7}', "inputs must be array; got 7"),
    ],
)
def test_bodies_that_are_none_are_refused(content, message):
    with pytest.raises(Problem, match=message) as caught:
        read_call(content, None, 8)
    assert caught.value.status == 400


def test_rows_are_bounded():
    with pytest.raises(Problem, match="HISTORY must have from 1 to 8 rows, this server's limit; got 9"):
        read(tensor(shape=[9, 0], data=[]))
    with pytest.raises(Problem, match="got 0"):
        read(tensor(shape=[0, 3], data=[]))
    with pytest.raises(Problem, match="at most 20000 items"):
        read(tensor(shape=[8, 0], data=[]), tensor("K", "INT32", [1], data=[2501]))


def test_flat_and_nested_data_are_the_same_as_bytes():
    expected = [["a", "b"], ["c"]]
    forms = (
        ({"data": ["a", "b", "", "c"]}, b""),
        ({"data": [["a", "b"], ["", "c"]]}, b""),
        ({"parameters": {"binary_data_size": 19}}, texts(b"a", b"b", b"", b"c")),
    )
    for more, binary in forms:
        call = read(tensor(shape=[2, 2], **more), binary=binary)
        assert [request.history for request in call.requests] == expected


def test_several_tensors_follow_each_other():
    call = read(
        behind(10),
        behind(4, name="K", datatype="INT32", shape=[1]),
        tensor("PROMPT", shape=[1, 1], data=["funny"]),
        behind(4, name="STRENGTH", datatype="FP32", shape=[1]),
        binary=TWO + (7).to_bytes(4, "little") + b"\x00\x00\x00\x3f",
    )
    (request,) = call.requests
    assert (request.history, request.k, request.prompt, request.strength) == (["a", "b"], 7, "funny", 0.5)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bodies_are_read_or_refused(data):
    content, header = body(
        behind(10),
        tensor("PROMPT", shape=[1, 1], data=["no war"]),
        behind(4, name="K", datatype="INT32", shape=[1]),
        binary=TWO + b"\x05\x00\x00\x00",
        parameters={"binary_data_output": True},
        outputs=[{"name": "ITEMS", "parameters": {"binary_data": False}}],
    )
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    length = data.draw(st.sampled_from([header, None, "0", str(cut)]))
    for piece in (bytes(damaged), bytes(damaged[:cut])):
        try:
            status = 200 if read_call(piece, length, 8).requests else 0
        except Problem as problem:
            status = problem.status
        assert status in (200, 400, 422)


@pytest.mark.parametrize(
    ("inputs", "binary"), [(inputs, binary) for inputs, binary, _ in HOSTILE[::5]] + [([HISTORY], b"")]
)
def test_errors_are_sent_in_the_protocols_form(client, inputs, binary):
    content, header = body(*inputs, binary=binary)
    headers = {} if header is None else {HEADER: header}
    for path in ("/v2/models/tiny/infer", "/v2/models/other/infer"):
        response = client.post(path, content=content, headers=headers)
        assert 400 <= response.status_code < 500
        assert response.headers["content-type"] == "application/json"
        assert list(response.json()) == ["error"]


def test_refusals_before_the_route_have_the_form_too(make_client):
    closed = make_client(api_key=("secret",), max_body_bytes=2000)
    response = closed.post("/v2/models/tiny/infer", content=body(HISTORY)[0])
    assert (response.status_code, list(response.json())) == (401, ["error"])
    large = body(tensor(data=["a" * 3000, "b"]))[0]
    response = closed.post("/v2/models/tiny/infer", content=large, headers={"X-API-Key": "secret"})
    assert (response.status_code, list(response.json())) == (413, ["error"])
    assert list(closed.get("/v2/nowhere").json()) == ["error"]
    assert list(closed.post("/v2").json()) == ["error"]
    assert closed.get("/v2").json()["name"] == "dpr-serve"
