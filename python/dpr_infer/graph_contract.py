# What each graph of a bundle takes and gives (docs/design.md, "Graphs"), and the comparison with what a
# bundle has.

from __future__ import annotations

from collections.abc import Sequence

from dpr_infer.errors import BundleError
from dpr_infer.manifest import Dims, Manifest, TensorSpec

Port = dict[str, tuple[str, tuple[int | str, ...]]]
TEXT_ENCODER = "text_encoder"  # the graph that no query runs


def contract(dims: Dims, version: int) -> dict[str, tuple[Port, Port]]:
    """Return what the graphs must look like.

    Parameters
    ----------
    dims : Dims
        Sizes of the bundle.
    version : int
        Its format version.

    Returns
    -------
    dict
        For each graph its inputs and its outputs; each maps a name to (dtype, shape), where a string stands
        for a dynamic dimension: B queries, L items of a history or of its continuation, T tokens of a prompt or of an
        item's description, G tags.
    """
    ids: tuple[str, tuple[int | str, ...]] = ("int64", ("B", "T"))
    tokens = ("float32", ("B", "T", dims.token))
    user = ("float32", ("B", dims.user))
    wish = ("float32", ("B", "G", 2))
    read: Port = {"tokens": tokens, "wish": wish}
    if version >= 3:
        read["released"] = ("float32", ("B", "G"))
    experts: Port = {
        "experts": ("float32", ("B", dims.experts, dims.item)),
        "gates": ("float32", ("B", dims.experts)),
    }
    prompt: Port = {
        "tokens": tokens,
        "attention_mask": ids,
        "wish": wish,
        "tag_vectors": ("float32", ("G", dims.side)),
    }
    history: Port = {"items": ("int64", ("B", "L"))}
    graphs: dict[str, tuple[Port, Port]] = {
        "backbone": (history, {"user": user}),
        "prompt_encoder": (
            {"input_ids": ids, "attention_mask": ids, "tag_embeddings": ("float32", ("G", dims.token))},
            read,
        ),
    }
    if dims.state:
        state = ("float32", ("B", dims.state))
        graphs["backbone_step"] = (history | {"state": state}, {"user": user, "next_state": state})
    if dims.text:
        graphs[TEXT_ENCODER] = (
            {"input_ids": ids, "attention_mask": ids},
            {"place": ("float32", ("B", dims.text))},
        )
    if not dims.fusion:  # one graph does what later versions do in two
        graphs["fusion_moe"] = ({"user": user} | prompt, experts)
        return graphs
    share: Port = {
        "keys": ("float32", ("B", "T", dims.fusion)),
        "values": ("float32", ("B", "T", dims.fusion)),
        "hidden": ("float32", ("B", dims.experts, dims.hidden)),
        "sides": ("float32", ("B", dims.experts, dims.side)),
        "strengths": ("float32", ("B", dims.experts)),
    }
    graphs["prompt_fusion"] = (prompt, share)
    graphs["fusion_moe"] = ({"user": user, "attention_mask": ids} | share, experts)
    return graphs


def query_graphs(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of the graphs that queries and sessions run: all but the text encoder."""
    return tuple(name for name in manifest.graphs if name != TEXT_ENCODER)


def check_declared(manifest: Manifest) -> None:
    """Check that the manifest declares its graphs as the contract wants them.

    Parameters
    ----------
    manifest : Manifest
        The manifest to check.

    Raises
    ------
    BundleError
        If a graph has other names, dtypes or shapes, or one name for two different dynamic dimensions.
    """
    for name, (inputs, outputs) in contract(manifest.dims, manifest.format_version).items():
        graph = manifest.graphs[name]
        meaning: dict[str, str] = {}
        for side, expected, declared in (
            ("inputs", inputs, graph.inputs),
            ("outputs", outputs, graph.outputs),
        ):
            place = f"manifest.json: graphs: {name}: {side}"
            _check_ports(place, expected, declared, exact=True)
            for tensor in declared:
                _check_dimension_names(place, expected[tensor.name][1], tensor, meaning)


def check_actual(
    name: str, manifest: Manifest, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> None:
    """Check that a loaded graph is the one that the manifest declares.

    Parameters
    ----------
    name : str
        Which graph.
    manifest : Manifest
        The bundle's manifest.
    inputs, outputs : sequence of TensorSpec
        What the engine reports. A dimension that it does not know is a string.

    Raises
    ------
    BundleError
        If names, dtypes, ranks or sizes differ, or a dynamic dimension is frozen.
    """
    expected_inputs, expected_outputs = contract(manifest.dims, manifest.format_version)[name]
    file = manifest.graphs[name].file
    _check_ports(f"{file}: inputs", expected_inputs, inputs, exact=False)
    _check_ports(f"{file}: outputs", expected_outputs, outputs, exact=False)


def _check_ports(place: str, expected: Port, got: Sequence[TensorSpec], *, exact: bool) -> None:
    names = [tensor.name for tensor in got]
    if sorted(names) != sorted(expected):
        raise BundleError(f"{place} must be {', '.join(expected)}; got {', '.join(names)[:200] or 'none'}")
    for tensor in got:
        dtype, shape = expected[tensor.name]
        fits = len(shape) == len(tensor.shape) and all(
            _fits(want, have, exact=exact) for want, have in zip(shape, tensor.shape, strict=True)
        )
        if tensor.dtype != dtype or not fits:
            raise BundleError(
                f"{place}: {tensor.name} must be {dtype} {_show(shape)}; "
                f"got {tensor.dtype} {_show(tensor.shape)}"
            )


def _fits(want: int | str, have: int | str, *, exact: bool) -> bool:
    """Tell whether a dimension is as wanted; `exact` also refuses a name where a size belongs."""
    if isinstance(want, str) or isinstance(have, str):
        return isinstance(have, str) and (isinstance(want, str) or not exact)
    return want == have


def _check_dimension_names(
    place: str, shape: tuple[int | str, ...], tensor: TensorSpec, meaning: dict[str, str]
) -> None:
    for want, have in zip(shape, tensor.shape, strict=True):
        if isinstance(have, str) and meaning.setdefault(have, str(want)) != want:
            raise BundleError(
                f"{place}: {tensor.name}: dimension name {have!r} must mean one size within a graph; "
                f"it stands for {meaning[have]} and for {want}"
            )


def _show(shape: Sequence[int | str]) -> str:
    return "(" + ", ".join(str(d) for d in shape) + ")"
