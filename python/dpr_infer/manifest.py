# The manifest of a bundle: its schema (docs/bundle_format.md) as dataclasses, and the reader that checks it.

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from dpr_infer.errors import BundleError, BundleVersionError
from dpr_infer.manifest_index import HNSW_FILE, HnswEntry, IndexSizes, parse_hnsw, parse_index
from dpr_infer.strict_json import JsonNode, load_object

FORMAT = "dpr-bundle"
FORMAT_VERSIONS = (1, 2, 3, 4, 5, 6, 7)
# The first version whose manifest says itself what the ones before told by their number.
ADDED_ITEMS_VERSION = 5
# Graphs that may be left out, and the first version that may have them.
_OPTIONAL_GRAPHS = {"backbone_step": 6, "text_encoder": 7}
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 2**20
REQUIRED_FILES = (
    "backbone.onnx",
    "prompt_encoder.onnx",
    "fusion_moe.onnx",
    "tokenizer.json",
    "catalogue.safetensors",
    "items.parquet",
    "examples.parquet",
)

# Sizes beyond these are taken for damage or malice, not for a bigger model.
_MAX_ITEMS = 2**31 - 1
_MAX_WIDTH = 65_536
_MAX_EXPERTS = 1_024
_MAX_EXPERT_NUMBERS = 2**22  # 16 MiB a query
_MAX_LENGTH = 1_000_000
_MAX_FILE_BYTES = 2**50
_FLOAT32_MAX = 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and lower-case hexadecimal SHA-256 of one file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a graph; a dimension is a size, or the name of a dynamic one."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """A graph's file, its ONNX opset, and its inputs and outputs."""

    file: str
    opset: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dims:
    """Sizes of a bundle: counts of items, tags, experts; words of a tag bitset; widths of vectors.

    Of the `items`, the first `trained_items` have a token of the backbone; the others were added without training.
    The widths `fusion`, `hidden`, `state` and `text` are 0 for bundles without the graph that they belong to.
    """

    items: int
    tags: int
    tag_words: int
    user: int
    side: int
    item: int
    token: int
    experts: int
    trained_items: int
    fusion: int = 0
    hidden: int = 0
    state: int = 0
    text: int = 0

    @property
    def parts(self) -> tuple[int, ...]:
        """Widths of the parts of an item vector that the index quantises apart: [c ‖ w], or c alone."""
        return (self.user, self.side) if self.side else (self.user,)


@dataclass(frozen=True, slots=True)
class Expert:
    """An expert's name, its role ("toward" or "away") and the bias of its penalty."""

    name: str
    role: str
    bias: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself. The fields are those of docs/bundle_format.md.

    `index` is None for format version 1, which has none; `hnsw` is None where the bundle has no index.hnsw.
    `backbone_precision` is "fp32" where the manifest says nothing. Without a text encoder, `text_token_limit` is 0 and
    `text_encoder` None; otherwise that says where it comes from, and its precision.
    """

    format_version: int
    files: dict[str, FileEntry]
    graphs: dict[str, GraphSpec]
    dims: Dims
    history_limit: int
    prompt_token_limit: int
    text_token_limit: int
    tags: tuple[str, ...]
    experts: tuple[Expert, ...]
    phi: str
    gain: float
    wish_threshold: float
    backbone_precision: str
    encoder_precision: str
    encoder_base: str
    text_encoder: tuple[str, str] | None
    parity_rows: tuple[dict[str, Any], ...]
    made_by: dict[str, Any]
    licence_data: str
    licence_weights: str
    redistributable: bool
    index: IndexSizes | None
    hnsw: HnswEntry | None


def parse_manifest(text: bytes) -> Manifest:
    """Read a manifest and check its schema, its limits and that it does not contradict itself.

    Parameters
    ----------
    text : bytes
        Content of manifest.json.

    Returns
    -------
    Manifest
        The checked manifest.

    Raises
    ------
    BundleVersionError
        If its format version is not known.
    BundleError
        If anything else about it is wrong.
    """
    root = load_object(text, MANIFEST_NAME)
    root["format"].one_of(FORMAT)
    version = _version(root["format_version"])
    files = _files(root["files"])
    names = _graph_names(root["graphs"], version)
    dims = _dims(root["dims"], version, names)
    phi = root["phi"]
    licence = root["licence"]
    encoder = root["prompt_encoder"]
    return Manifest(
        format_version=version,
        files=files,
        graphs=_graphs(root["graphs"], names, files),
        dims=dims,
        history_limit=root["limits"]["history"].integer(1, _MAX_LENGTH),
        prompt_token_limit=root["limits"]["prompt_tokens"].integer(1, _MAX_LENGTH),
        text_token_limit=root["limits"]["text_tokens"].integer(1, _MAX_LENGTH) if dims.text else 0,
        tags=_tags(root["tags"], dims.tags),
        experts=_experts(root["experts"], dims.experts),
        phi=phi["kind"].one_of("relu", "softplus"),
        gain=phi["gain"].number(1e-6, 1e6),
        wish_threshold=root["wish_threshold"].number(1e-6, 1.0),
        backbone_precision=_backbone_precision(root),
        encoder_precision=encoder["precision"].one_of("fp32", "int8"),
        encoder_base=encoder["base"].string(),
        text_encoder=_text_encoder(root["text_encoder"]) if dims.text else None,
        parity_rows=_parity(root["parity"]),
        made_by=_object(root["made_by"]),
        licence_data=licence["data"].string(),
        licence_weights=licence["weights"].string(),
        redistributable=licence["redistributable"].boolean(),
        index=None if version == 1 else parse_index(root["index"], items=dims.items, parts=dims.parts),
        hnsw=None if version == 1 else _hnsw(root, version, dims, listed=HNSW_FILE in files),
    )


def _version(node: JsonNode) -> int:
    version = node.integer(0, 2**31)
    if version not in FORMAT_VERSIONS:
        known = ", ".join(map(str, FORMAT_VERSIONS[:-1])) + f" or {FORMAT_VERSIONS[-1]}"
        raise BundleVersionError(
            f"{node.place} must be {known}, the ones this dpr-infer reads; got {version}"
        )
    return version


def _plain_name(name: str, place: str) -> str:
    """Return a file name that cannot leave the folder or garble a terminal."""
    if (
        name in ("", ".", "..", MANIFEST_NAME)
        or len(name) > 255
        or set(name) & set("/\\:")
        or not name.isprintable()
    ):
        raise BundleError(f"{place} must be the plain name of a file; got {name[:100]!r}")
    return name


def _files(node: JsonNode) -> dict[str, FileEntry]:
    files = {}
    for name in node.keys():  # noqa: SIM118 - a JsonNode is no dict; keys() checks that it holds one
        entry = node[_plain_name(name, f"{node.place}: each key")]
        sha256 = entry["sha256"].string()
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            entry["sha256"].fail("64 lower-case hexadecimal digits")
        files[name] = FileEntry(entry["bytes"].integer(0, _MAX_FILE_BYTES), sha256)
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise BundleError(
            f"{node.place} must list {', '.join(REQUIRED_FILES)}; missing: {', '.join(missing)}"
        )
    return files


def _graph_names(node: JsonNode, version: int) -> tuple[str, ...]:
    """Return the names of the graphs that a bundle must have; from version 5 on, it says so itself."""
    listed = node.keys()
    split = "prompt_fusion" in listed if version >= ADDED_ITEMS_VERSION else version == 4
    fusion = ("prompt_fusion", "fusion_moe") if split else ("fusion_moe",)
    optional = (name for name, first in _OPTIONAL_GRAPHS.items() if version >= first and name in listed)
    return ("backbone", "prompt_encoder", *fusion, *optional)


def _hnsw(root: JsonNode, version: int, dims: Dims, *, listed: bool) -> HnswEntry | None:
    return parse_hnsw(root, listed=listed, items=dims.items, says_items=version >= ADDED_ITEMS_VERSION)


def _backbone_precision(root: JsonNode) -> str:
    return root["backbone"]["precision"].one_of("fp32", "int8") if "backbone" in root.keys() else "fp32"  # noqa: SIM118


def _text_encoder(node: JsonNode) -> tuple[str, str]:
    return node["base"].string(), node["precision"].one_of("fp32", "int8")


def _graphs(node: JsonNode, names: tuple[str, ...], files: dict[str, FileEntry]) -> dict[str, GraphSpec]:
    if sorted(node.keys()) != sorted(names):
        node.fail("an object with exactly the keys " + ", ".join(names))
    graphs = {}
    for name in names:
        graph = node[name]
        file = graph["file"].string()
        if file not in files:
            graph["file"].fail("a file that the manifest lists")
        graphs[name] = GraphSpec(
            file, graph["opset"].integer(1, 1_000), _tensors(graph["inputs"]), _tensors(graph["outputs"])
        )
    return graphs


def _tensors(node: JsonNode) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            tensor["name"].string(),
            tensor["dtype"].string(),
            tuple(_dimension(d) for d in tensor["shape"].elements()),
        )
        for tensor in node.elements()
    )


def _dimension(node: JsonNode) -> int | str:
    return node.string() if isinstance(node.value, str) else node.integer(0, _MAX_ITEMS)


def _dims(node: JsonNode, version: int, graphs: tuple[str, ...]) -> Dims:
    split = "prompt_fusion" in graphs
    items = node["items"].integer(1, _MAX_ITEMS)
    dims = Dims(
        items=items,
        tags=node["tags"].integer(0, _MAX_WIDTH),
        tag_words=node["tag_words"].integer(1, _MAX_WIDTH),
        user=node["user"].integer(1, _MAX_WIDTH),
        side=node["side"].integer(0, _MAX_WIDTH),
        item=node["item"].integer(1, 2 * _MAX_WIDTH),
        token=node["token"].integer(1, _MAX_WIDTH),
        experts=node["experts"].integer(0, _MAX_EXPERTS),
        trained_items=node["trained_items"].integer(1, items) if version >= ADDED_ITEMS_VERSION else items,
        fusion=node["fusion"].integer(1, _MAX_WIDTH) if split else 0,
        hidden=node["hidden"].integer(1, _MAX_WIDTH) if split else 0,
        state=node["state"].integer(1, _MAX_WIDTH) if "backbone_step" in graphs else 0,
        text=node["text"].integer(1, _MAX_WIDTH) if "text_encoder" in graphs else 0,
    )
    if dims.text > dims.side:
        node["text"].fail(f"at most side = {dims.side}")
    if dims.item != dims.user + dims.side:
        node["item"].fail(f"user + side = {dims.user + dims.side}")
    if dims.experts * max(dims.item, dims.hidden) > _MAX_EXPERT_NUMBERS:
        node["experts"].fail(
            f"so few that experts * item and experts * hidden are at most {_MAX_EXPERT_NUMBERS}"
        )
    if dims.tag_words != max(1, math.ceil(dims.tags / 64)):
        node["tag_words"].fail(f"ceil(tags / 64) = {max(1, math.ceil(dims.tags / 64))}")
    return dims


def _tags(node: JsonNode, count: int) -> tuple[str, ...]:
    tags = tuple(tag.string() for tag in node.elements())
    if len(tags) != count or len(set(tags)) != count:
        raise BundleError(
            f"{node.place} must hold dims.tags = {count} different names; "
            f"got {len(tags)}, {len(set(tags))} different"
        )
    return tags


def _experts(node: JsonNode, count: int) -> tuple[Expert, ...]:
    experts = []
    for entry in node.elements():
        role = entry["role"].one_of("toward", "away")
        limit = 0.0 if role == "toward" else _FLOAT32_MAX
        experts.append(Expert(entry["name"].string(), role, entry["bias"].number(-limit, limit)))
    different = len({expert.name for expert in experts})
    if len(experts) != count or different != count:
        raise BundleError(
            f"{node.place} must hold dims.experts = {count} experts of different names; got {len(experts)} "
            f"with {different} names"
        )
    return tuple(experts)


def _parity(node: JsonNode) -> tuple[dict[str, Any], ...]:
    if not node["passed"].boolean():
        node["passed"].fail("true: the graphs of this bundle did not match the model they were made from")
    return tuple(_object(row) for row in node["rows"].elements())


def _object(node: JsonNode) -> dict[str, Any]:
    return {key: node[key].value for key in node.keys()}  # noqa: SIM118 - see _files
