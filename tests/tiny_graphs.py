# The graphs of a tiny bundle, made by hand: small, but sensible enough that a prompt visibly steers.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from tiny_bundle import TinyConfig

NEGATORS = ("no", "not", "without")
RELEASERS = ("whatever",)
OPSET = 20
F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def backbone_graph(config: TinyConfig, collaborative: np.ndarray, start: np.ndarray) -> onnx.GraphProto:
    """user = mean of the vectors of the items that are no padding; a start vector where there are none."""
    table = np.concatenate([np.zeros((1, config.user), np.float32), collaborative])
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["vectors"]),  # (B, L, dc)
        helper.make_node("Sum", ["vectors"], ["all"]),
        helper.make_node("ReduceSum", ["all", "axis_1"], ["sum"], keepdims=0),  # (B, dc)
        helper.make_node("Cast", ["items"], ["real"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["real"], ["ones"], to=F32),
        helper.make_node("ReduceSum", ["ones", "axis_1"], ["count"], keepdims=1),  # (B, 1)
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("Sub", ["divisor", "count"], ["is_new"]),  # 1 without a real item, else 0
        helper.make_node("Mul", ["is_new", "start"], ["start_or_0"]),
        helper.make_node("Add", ["mean", "start_or_0"], ["user"]),
    ]
    constants = {
        "table": table,
        "axis_1": np.array([1]),
        "one": np.ones(1, np.float32),
        "start": start,
    }
    return _graph(
        "backbone",
        nodes,
        constants,
        [("items", I64, ["B", "L"])],
        [("user", F32, ["B", config.user])],
    )


def backbone_step_graph(config: TinyConfig, collaborative: np.ndarray, start: np.ndarray) -> onnx.GraphProto:
    """The same mean, gone on with: the state holds the sum so far and how many items it is of."""
    nodes = [
        helper.make_node("Gather", ["table", "items"], ["vectors"]),  # (B, L, dc + 1)
        helper.make_node("ReduceSum", ["vectors", "axis_1"], ["more"], keepdims=0),
        helper.make_node("Add", ["state", "more"], ["next_state"]),
        helper.make_node("Split", ["next_state", "widths"], ["sum", "count"], axis=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("Sub", ["divisor", "count"], ["is_new"]),
        helper.make_node("Mul", ["is_new", "start"], ["start_or_0"]),
        helper.make_node("Add", ["mean", "start_or_0"], ["user"]),
    ]
    table = np.zeros((len(collaborative) + 1, config.user + 1), np.float32)
    table[1:, :-1], table[1:, -1] = collaborative, 1
    constants = {
        "table": table,
        "axis_1": np.array([1]),
        "widths": np.array([config.user, 1]),
        "one": np.ones(1, np.float32),
        "start": start,
    }
    state = ["B", config.user + 1]
    return _graph(
        "backbone_step",
        nodes,
        constants,
        [("items", I64, ["B", "L"]), ("state", F32, state)],
        [("user", F32, ["B", config.user]), ("next_state", F32, state)],
    )


def prompt_encoder_graph(
    config: TinyConfig, token_table: np.ndarray, words: dict[str, int]
) -> onnx.GraphProto:
    """tokens = word vectors; a tag's word asks for it, refuses it behind a negator, releases it behind a releaser."""
    before = np.zeros((len(words), 2), np.float32)
    before[[words[word] for word in NEGATORS], 0] = 1
    before[[words[word] for word in RELEASERS], 1] = 1
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),  # (B, T, p)
        helper.make_node("Transpose", ["tag_embeddings"], ["columns"], perm=[1, 0]),
        helper.make_node("MatMul", ["tokens", "columns"], ["similarity"]),  # (B, T, G)
        helper.make_node("Sub", ["similarity", "floor"], ["above"]),
        helper.make_node("Mul", ["above", "ten"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "zero", "one"], ["named"]),
        helper.make_node("Gather", ["before", "input_ids"], ["turns_next"]),  # (B, T, 2)
        helper.make_node("Pad", ["turns_next", "one_before"], ["shifted_long"]),  # (B, T + 1, 2)
        helper.make_node("Slice", ["shifted_long", "first", "minus_one", "axis"], ["shifted"]),  # (B, T, 2)
        helper.make_node("Split", ["shifted"], ["refusing", "releasing"], axis=2, num_outputs=2),
        helper.make_node("Sub", ["one", "refusing"], ["not_refusing"]),
        helper.make_node("Sub", ["not_refusing", "releasing"], ["asking"]),
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "last_axis"], ["mask"]),
        helper.make_node("Mul", ["named", "mask"], ["seen"]),
        helper.make_node("Mul", ["seen", "asking"], ["asked_by_token"]),
        helper.make_node("Mul", ["seen", "refusing"], ["refused_by_token"]),
        helper.make_node("ReduceMax", ["asked_by_token", "axis"], ["asked"], keepdims=0),  # (B, G)
        helper.make_node("ReduceMax", ["refused_by_token", "axis"], ["refused"], keepdims=0),
        helper.make_node("Unsqueeze", ["asked", "last_axis"], ["asked_3d"]),
        helper.make_node("Unsqueeze", ["refused", "last_axis"], ["refused_3d"]),
        helper.make_node("Concat", ["asked_3d", "refused_3d"], ["wish"], axis=2),
    ]
    outputs = [("tokens", F32, ["B", "T", config.token]), ("wish", F32, ["B", "G", 2])]
    if config.version >= 3:
        nodes += [
            helper.make_node("Mul", ["seen", "releasing"], ["released_by_token"]),
            helper.make_node("ReduceMax", ["released_by_token", "axis"], ["released"], keepdims=0),
        ]
        outputs.append(("released", F32, ["B", "G"]))
    constants = {
        "table": token_table,
        "before": before,
        "floor": np.array(0.9, np.float32),
        "ten": np.array(10, np.float32),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "one_before": np.array([0, 1, 0, 0, 0, 0]),
        "first": np.array([0]),
        "minus_one": np.array([-1]),
        "axis": np.array([1]),
        "last_axis": np.array([2]),
    }
    ids = [(name, I64, ["B", "T"]) for name in ("input_ids", "attention_mask")]
    return _graph(
        "prompt_encoder",
        nodes,
        constants,
        [*ids, ("tag_embeddings", F32, ["G", config.token])],
        outputs,
    )


def text_encoder_graph(config: TinyConfig, words: int) -> onnx.GraphProto:
    """place = mean of the words' vectors."""
    rng = np.random.default_rng(config.seed + 2)
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["vectors"]),  # (B, T, dt)
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "last_axis"], ["mask"]),
        helper.make_node("Mul", ["vectors", "mask"], ["real"]),
        helper.make_node("ReduceSum", ["real", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["place"]),
    ]
    constants = {
        "words": rng.standard_normal((words, config.text)).astype(np.float32),
        "axis": np.array([1]),
        "last_axis": np.array([2]),
    }
    ids = [(name, I64, ["B", "T"]) for name in ("input_ids", "attention_mask")]
    return _graph("text_encoder", nodes, constants, ids, [("place", F32, ["B", config.text])])


def fusion_graph(config: TinyConfig, rng: np.random.Generator) -> onnx.GraphProto:
    """Expert e is [nudge ‖ sum of the wished tags' vectors] / (e // 2 + 1), gated by how much is wished."""
    nudge = 0.05 * rng.standard_normal((config.token, config.user)).astype(np.float32)
    nodes = [
        helper.make_node("Split", ["wish"], ["asked_3d", "refused_3d"], axis=2, num_outputs=2),
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "last_axis"], ["mask"]),
        helper.make_node("Mul", ["tokens", "mask"], ["real_tokens"]),
        helper.make_node("ReduceSum", ["real_tokens", "axis"], ["token_sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["token_count"], keepdims=0),
        helper.make_node("Div", ["token_sum", "token_count"], ["token_mean"]),  # (B, p)
        helper.make_node("MatMul", ["token_mean", "nudge"], ["nudge_side"]),  # (B, dc)
        helper.make_node("Mul", ["user", "small"], ["user_echo"]),
        helper.make_node("Add", ["nudge_side", "user_echo"], ["user_side"]),
    ]
    for wish in ("asked", "refused"):
        nodes += [
            helper.make_node("Squeeze", [f"{wish}_3d", "last_axis"], [wish]),  # (B, G)
            helper.make_node("MatMul", [wish, "tag_vectors"], [f"{wish}_side"]),  # (B, dw)
            helper.make_node("Concat", ["user_side", f"{wish}_side"], [f"{wish}_z"], axis=1),
            helper.make_node("Unsqueeze", [f"{wish}_z", "axis"], [f"{wish}_z3"]),
            helper.make_node("ReduceSum", [wish, "axis"], [f"{wish}_sum"], keepdims=1),
            helper.make_node("Min", [f"{wish}_sum", "one"], [f"{wish}_gate"]),  # (B, 1)
        ]
    order = ["asked" if e % 2 == 0 else "refused" for e in range(config.experts)]
    nodes += [
        helper.make_node("Concat", [f"{wish}_z3" for wish in order], ["stacked"], axis=1),
        helper.make_node("Mul", ["stacked", "shrink"], ["experts"]),  # (B, E, D)
        helper.make_node("Concat", [f"{wish}_gate" for wish in order], ["gate_values"], axis=1),
        helper.make_node("Mul", ["gate_values", "loud"], ["gates"]),
    ]
    shrink = np.array([1 / (e // 2 + 1) for e in range(config.experts)], np.float32).reshape(1, -1, 1)
    constants = {
        "nudge": nudge,
        "small": np.array(0.01, np.float32),
        "one": np.array(1, np.float32),
        "loud": np.array(4, np.float32),
        "shrink": shrink,
        "axis": np.array([1]),
        "last_axis": np.array([2]),
    }
    return _graph(
        "fusion_moe",
        nodes,
        constants,
        [
            ("user", F32, ["B", config.user]),
            ("tokens", F32, ["B", "T", config.token]),
            ("attention_mask", I64, ["B", "T"]),
            ("wish", F32, ["B", "G", 2]),
            ("tag_vectors", F32, ["G", config.side]),
        ],
        [
            ("experts", F32, ["B", config.experts, config.user + config.side]),
            ("gates", F32, ["B", config.experts]),
        ],
    )


def prompt_fusion_graph(config: TinyConfig, rng: np.random.Generator) -> onnx.GraphProto:
    """The part of `fusion_graph` that reads the prompt: values are the tokens' nudges, hidden is not used."""
    nudge = 0.05 * rng.standard_normal((config.token, config.user)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["tokens", "nudge"], ["values"]),  # (B, T, dc)
        helper.make_node("Identity", ["values"], ["keys"]),
        helper.make_node("Split", ["wish"], ["asked_3d", "refused_3d"], axis=2, num_outputs=2),
    ]
    for wish in ("asked", "refused"):
        nodes += [
            helper.make_node("Squeeze", [f"{wish}_3d", "last_axis"], [wish]),  # (B, G)
            helper.make_node("MatMul", [wish, "tag_vectors"], [f"{wish}_side"]),  # (B, dw)
            helper.make_node("Unsqueeze", [f"{wish}_side", "axis"], [f"{wish}_side3"]),
            helper.make_node("ReduceSum", [wish, "axis"], [f"{wish}_sum"], keepdims=1),
            helper.make_node("Min", [f"{wish}_sum", "one"], [f"{wish}_gate"]),  # (B, 1)
        ]
    order = ["asked" if e % 2 == 0 else "refused" for e in range(config.experts)]
    nodes += [
        helper.make_node("Concat", [f"{wish}_side3" for wish in order], ["sides"], axis=1),
        helper.make_node("Concat", [f"{wish}_gate" for wish in order], ["strengths"], axis=1),
        helper.make_node("Unsqueeze", ["strengths", "last_axis"], ["hidden"]),  # (B, E, 1)
    ]
    constants = {
        "nudge": nudge,
        "one": np.array(1, np.float32),
        "axis": np.array([1]),
        "last_axis": np.array([2]),
    }
    return _graph(
        "prompt_fusion",
        nodes,
        constants,
        [
            ("tokens", F32, ["B", "T", config.token]),
            ("attention_mask", I64, ["B", "T"]),
            ("wish", F32, ["B", "G", 2]),
            ("tag_vectors", F32, ["G", config.side]),
        ],
        _share(config),
    )


def user_fusion_graph(config: TinyConfig) -> onnx.GraphProto:
    """The part of `fusion_graph` that adds a user: with `prompt_fusion_graph` it says the same."""
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["mask_2d"], to=F32),
        helper.make_node("Unsqueeze", ["mask_2d", "last_axis"], ["mask"]),
        helper.make_node("Mul", ["values", "mask"], ["real_values"]),
        helper.make_node("ReduceSum", ["real_values", "axis"], ["value_sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "axis"], ["token_count"], keepdims=0),
        helper.make_node("Div", ["value_sum", "token_count"], ["nudge_side"]),  # (B, dc)
        helper.make_node("Mul", ["user", "small"], ["user_echo"]),
        helper.make_node("Add", ["nudge_side", "user_echo"], ["user_side"]),
        helper.make_node("Unsqueeze", ["user_side", "axis"], ["user_side3"]),  # (B, 1, dc)
        helper.make_node("Mul", ["hidden", "zero"], ["room"]),  # (B, E, 1)
        helper.make_node("Add", ["user_side3", "room"], ["user_sides"]),  # (B, E, dc)
        helper.make_node("Concat", ["user_sides", "sides"], ["stacked"], axis=2),
        helper.make_node("Mul", ["stacked", "shrink"], ["experts"]),  # (B, E, D)
        helper.make_node("Mul", ["strengths", "loud"], ["gates"]),
    ]
    shrink = np.array([1 / (e // 2 + 1) for e in range(config.experts)], np.float32).reshape(1, -1, 1)
    constants = {
        "small": np.array(0.01, np.float32),
        "zero": np.array(0, np.float32),
        "loud": np.array(4, np.float32),
        "shrink": shrink,
        "axis": np.array([1]),
        "last_axis": np.array([2]),
    }
    return _graph(
        "fusion_moe",
        nodes,
        constants,
        [("user", F32, ["B", config.user]), ("attention_mask", I64, ["B", "T"]), *_share(config)],
        [
            ("experts", F32, ["B", config.experts, config.user + config.side]),
            ("gates", F32, ["B", config.experts]),
        ],
    )


def _share(config: TinyConfig) -> list[Any]:
    """What of a prompt goes from one part of the fusion to the other."""
    return [
        ("keys", F32, ["B", "T", config.user]),
        ("values", F32, ["B", "T", config.user]),
        ("hidden", F32, ["B", config.experts, 1]),
        ("sides", F32, ["B", config.experts, config.side]),
        ("strengths", F32, ["B", config.experts]),
    ]


def _graph(
    name: str, nodes: list[Any], constants: dict[str, np.ndarray], inputs: list[Any], outputs: list[Any]
) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
