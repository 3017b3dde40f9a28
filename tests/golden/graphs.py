# The graphs of the golden bundles. All their numbers are small multiples of powers of two, so that every sum is exact
# in float32, in whatever order an engine adds: what they give has the same bits everywhere and for ever.

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
F32, I64 = TensorProto.FLOAT, TensorProto.INT64
Port = tuple[str, int, list[Any]]


def backbone(trained: np.ndarray, start: np.ndarray) -> onnx.GraphProto:
    """user = sum of the vectors of the items; a start where there are none."""
    user = trained.shape[1]
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["vectors"]),
        helper.make_node("ReduceSum", ["vectors", "axis_1"], ["sum"], keepdims=0),
        helper.make_node("ReduceMax", ["items", "axis_1"], ["largest"], keepdims=1),
        helper.make_node("Equal", ["largest", "no_item"], ["is_new"]),
        helper.make_node("Cast", ["is_new"], ["one_if_new"], to=F32),
        helper.make_node("Mul", ["one_if_new", "start"], ["start_or_0"]),
        helper.make_node("Add", ["sum", "start_or_0"], ["user"]),
    ]
    constants = {
        "table": np.concatenate([np.zeros((1, user), np.float32), trained]),
        "start": start[None],
        "axis_1": np.array([1]),
        "no_item": np.array(0),
    }
    return _graph("backbone", nodes, constants, [("items", I64, ["B", "L"])], [("user", F32, ["B", user])])


def backbone_step(trained: np.ndarray, start: np.ndarray) -> onnx.GraphProto:
    """The same sum, gone on with: the state is [sum ‖ number of items ‖ 0]."""
    items, user = trained.shape
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["vectors"]),
        helper.make_node("ReduceSum", ["vectors", "axis_1"], ["more"], keepdims=0),
        helper.make_node("Add", ["state", "more"], ["next_state"]),
        helper.make_node("Split", ["next_state", "widths"], ["sum", "count", "rest"], axis=1),
        helper.make_node("Equal", ["count", "none"], ["is_new"]),
        helper.make_node("Cast", ["is_new"], ["one_if_new"], to=F32),
        helper.make_node("Mul", ["one_if_new", "start"], ["start_or_0"]),
        helper.make_node("Add", ["sum", "start_or_0"], ["user"]),
    ]
    table = np.zeros((items + 1, user + 2), np.float32)
    table[1:, :user], table[1:, user] = trained, 1
    constants = {
        "table": table,
        "start": start[None],
        "axis_1": np.array([1]),
        "widths": np.array([user, 1, 1]),
        "none": np.array(0, np.float32),
    }
    state: list[Any] = ["B", user + 2]
    inputs: list[Port] = [("items", I64, ["B", "L"]), ("state", F32, state)]
    outputs: list[Port] = [("user", F32, ["B", user]), ("next_state", F32, state)]
    return _graph("backbone_step", nodes, constants, inputs, outputs)


def prompt_encoder(words: np.ndarray, roles: np.ndarray, *, released: bool) -> onnx.GraphProto:
    """tokens = the words' vectors; a tag is refused behind a negator, released behind a releaser, else asked for."""
    width = words.shape[1]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["tokens"]),  # (B, T, p)
        helper.make_node("Transpose", ["tag_embeddings"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["tokens", "columns"], ["named"]),  # (B, T, G), 0 or 1
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "axis_2"], ["mask"]),
        helper.make_node("Mul", ["named", "mask"], ["seen"]),
        helper.make_node("Gather", ["roles", "input_ids"], ["own"]),  # (B, T, 2)
        helper.make_node("Pad", ["own", "one_before"], ["longer"]),
        helper.make_node("Slice", ["longer", "first", "minus_one", "axis_1"], ["before"]),
        helper.make_node("Split", ["before"], ["refusing", "releasing"], axis=2, num_outputs=2),
        helper.make_node("Add", ["refusing", "releasing"], ["not_asking"]),
        helper.make_node("Sub", ["one", "not_asking"], ["asking"]),
    ]
    kinds = ["asking", "refusing", *(["releasing"] if released else [])]
    for kind in kinds:
        nodes += [
            helper.make_node("Mul", ["seen", kind], [f"{kind}_by_token"]),
            helper.make_node(
                "ReduceMax", [f"{kind}_by_token", "axis_1"], [f"{kind}_tags"], keepdims=0
            ),  # (B, G)
        ]
    nodes += [
        helper.make_node("Unsqueeze", ["asking_tags", "axis_2"], ["asked"]),
        helper.make_node("Unsqueeze", ["refusing_tags", "axis_2"], ["refused"]),
        helper.make_node("Concat", ["asked", "refused"], ["wish"], axis=2),
        *([helper.make_node("Identity", ["releasing_tags"], ["released"])] if released else []),
    ]
    constants = {
        "words": words,
        "roles": roles,
        "one": np.array(1, np.float32),
        "one_before": np.array([0, 1, 0, 0, 0, 0]),
        "first": np.array([0]),
        "minus_one": np.array([-1]),
        "axis_1": np.array([1]),
        "axis_2": np.array([2]),
    }
    ids: list[Port] = [(name, I64, ["B", "T"]) for name in ("input_ids", "attention_mask")]
    outputs: list[Port] = [("tokens", F32, ["B", "T", width]), ("wish", F32, ["B", "G", 2])]
    if released:
        outputs.append(("released", F32, ["B", "G"]))
    return _graph("prompt_encoder", nodes, constants, [*ids, ("tag_embeddings", F32, ["G", width])], outputs)


def text_encoder(words: np.ndarray) -> onnx.GraphProto:
    """place = sum of the words' vectors."""
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "axis_2"], ["mask"]),
        helper.make_node("Mul", ["vectors", "mask"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "axis_1"], ["place"], keepdims=0),
    ]
    constants = {"words": words, "axis_1": np.array([1]), "axis_2": np.array([2])}
    ids: list[Port] = [(name, I64, ["B", "T"]) for name in ("input_ids", "attention_mask")]
    return _graph("text_encoder", nodes, constants, ids, [("place", F32, ["B", words.shape[1]])])


def fusion(nudge: np.ndarray, side: int) -> onnx.GraphProto:
    """Experts [sum of tokens * nudge + user / 4 ‖ sum of the wished tags' vectors]; gates 2 where there is one."""
    token, user = nudge.shape
    nodes = [*_values(), *_user_side(), *_wishes(), *_experts(), *_gates()]
    inputs = [("user", F32, ["B", user]), *_prompt_ports(token, side)]
    return _graph("fusion_moe", nodes, _constants(nudge), inputs, _expert_ports(user, side))


def split_fusion(nudge: np.ndarray, side: int) -> tuple[onnx.GraphProto, onnx.GraphProto]:
    """The same in two graphs: prompt_fusion, and fusion_moe which adds the user."""
    token, user = nudge.shape
    share: list[Port] = [
        ("keys", F32, ["B", "T", user]),
        ("values", F32, ["B", "T", user]),
        ("hidden", F32, ["B", 2, 1]),
        ("sides", F32, ["B", 2, side]),
        ("strengths", F32, ["B", 2]),
    ]
    of_prompt = [
        *_values(),
        helper.make_node("Identity", ["values"], ["keys"]),
        *_wishes(),
        helper.make_node("Unsqueeze", ["strengths", "axis_2"], ["hidden"]),
    ]
    of_user = [*_user_side(), *_experts(), *_gates()]
    user_ports: list[Port] = [("user", F32, ["B", user]), ("attention_mask", I64, ["B", "T"])]
    return (
        _graph("prompt_fusion", of_prompt, _constants(nudge), _prompt_ports(token, side), share),
        _graph("fusion_moe", of_user, _constants(nudge), [*user_ports, *share], _expert_ports(user, side)),
    )


def _values() -> list[Any]:
    return [helper.make_node("MatMul", ["tokens", "nudge"], ["values"])]  # (B, T, dc)


def _user_side() -> list[Any]:
    return [
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "axis_2"], ["mask"]),
        helper.make_node("Mul", ["values", "mask"], ["real_values"]),
        helper.make_node("ReduceSum", ["real_values", "axis_1"], ["nudged"], keepdims=0),  # (B, dc)
        helper.make_node("Mul", ["user", "quarter"], ["echo"]),
        helper.make_node("Add", ["nudged", "echo"], ["user_side"]),
        helper.make_node("Unsqueeze", ["user_side", "axis_1"], ["user_side_3d"]),
        helper.make_node("Concat", ["user_side_3d", "user_side_3d"], ["user_sides"], axis=1),  # (B, E, dc)
    ]


def _wishes() -> list[Any]:
    return [
        helper.make_node("Transpose", ["wish"], ["wish_by_expert"], perm=[0, 2, 1]),  # (B, E, G)
        helper.make_node("MatMul", ["wish_by_expert", "tag_vectors"], ["sides"]),  # (B, E, dw)
        helper.make_node("ReduceMax", ["wish_by_expert", "axis_2"], ["strengths"], keepdims=0),
    ]


def _experts() -> list[Any]:
    return [helper.make_node("Concat", ["user_sides", "sides"], ["experts"], axis=2)]


def _gates() -> list[Any]:
    return [helper.make_node("Mul", ["strengths", "two"], ["gates"])]


def _constants(nudge: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "nudge": nudge,
        "quarter": np.array(0.25, np.float32),
        "two": np.array(2, np.float32),
        "axis_1": np.array([1]),
        "axis_2": np.array([2]),
    }


def _prompt_ports(token: int, side: int) -> list[Port]:
    return [
        ("tokens", F32, ["B", "T", token]),
        ("attention_mask", I64, ["B", "T"]),
        ("wish", F32, ["B", "G", 2]),
        ("tag_vectors", F32, ["G", side]),
    ]


def _expert_ports(user: int, side: int) -> list[Port]:
    return [("experts", F32, ["B", 2, user + side]), ("gates", F32, ["B", 2])]


def _graph(
    name: str, nodes: list[Any], constants: dict[str, np.ndarray], inputs: list[Port], outputs: list[Port]
) -> onnx.GraphProto:
    used = {value for node in nodes for value in node.input}
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(value, key) for key, value in constants.items() if key in used],
    )
