# What the manifest says of the two indexes of a catalogue: the quantised one, and index.hnsw where there is one.

from __future__ import annotations

import math
from dataclasses import dataclass

from dpr_infer.errors import BundleError
from dpr_infer.index_tensors import BLOCK_ITEMS, BOUND_KINDS
from dpr_infer.strict_json import JsonNode

HNSW_FILE = "index.hnsw"
# hnswlib's own limit of M; beyond the others, damage or malice is likelier than a better index.
_MAX_M = 10_000
_MAX_EF = 10_000_000
_MAX_QUERIES = 10_000_000
_FLOAT32_MAX = 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class IndexSizes:
    """Sizes of the quantised index: blocks of 64 items, clusters, the widths of the parts of an item vector.

    `code_error` has, for each part, the largest distance between an item's vector and what its codes stand for.
    """

    blocks: int
    clusters: int
    parts: tuple[int, ...]
    code_error: tuple[float, ...]

    @property
    def bytes(self) -> int:
        """Size of its tensors in the file."""
        codes = BLOCK_ITEMS * sum(4 * math.ceil(width / 4) for width in self.parts)
        others = 4 * (BLOCK_ITEMS + 1 + BOUND_KINDS * len(self.parts))  # rows, cluster, bounds
        return self.blocks * (codes + others) + self.clusters * 4 * sum(self.parts)


@dataclass(frozen=True, slots=True)
class Recall:
    """Mean share of the exact top `k` that was found with `ef`, by kind of queries: "plain" or "steered"."""

    k: int
    ef: int
    queries: str
    recall: float


@dataclass(frozen=True, slots=True)
class MeasuredOn:
    """Queries that recall was measured on: how many histories are examples or were drawn, and the prompts."""

    examples: int
    drawn: int
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HnswEntry:
    """How index.hnsw was built, what recall was measured, and which queries that was measured on.

    It knows the first `items` of the catalogue; the others, added later, are candidates of every query.
    """

    items: int
    m: int
    ef_construction: int
    recall: tuple[Recall, ...]
    measured_on: MeasuredOn


def parse_index(node: JsonNode, *, items: int, parts: tuple[int, ...]) -> IndexSizes:
    """Read and check what the manifest says of the quantised index.

    Parameters
    ----------
    node : JsonNode
        The value of the key "index".
    items : int
        Number of items of the catalogue.
    parts : tuple of int
        Widths of the parts of an item vector, as the other sizes have them.

    Returns
    -------
    IndexSizes
        The checked sizes.

    Raises
    ------
    BundleError
        If a size is missing or cannot be.
    """
    got = tuple(part.integer(1, 2**31) for part in node["parts"].elements())
    if got != parts:
        node["parts"].fail(f"dims.user and dims.side, without a 0: {list(parts)}")
    code_error = tuple(error.number(0.0, _FLOAT32_MAX) for error in node["code_error"].elements())
    if len(code_error) != len(parts):
        node["code_error"].fail(f"one number a part, {len(parts)} of them")
    return IndexSizes(
        node["blocks"].integer(math.ceil(items / BLOCK_ITEMS), items),
        node["clusters"].integer(1, items),
        parts,
        code_error,
    )


def parse_hnsw(root: JsonNode, *, listed: bool, items: int, says_items: bool) -> HnswEntry | None:
    """Read and check what the manifest says of index.hnsw.

    Parameters
    ----------
    root : JsonNode
        The manifest.
    listed : bool
        Whether the bundle has index.hnsw.
    items : int
        Number of items of the catalogue.
    says_items : bool
        Whether the manifest says how many of them index.hnsw knows; if not, it knows all.

    Returns
    -------
    HnswEntry or None
        None where there is no such file.

    Raises
    ------
    BundleError
        If the key "hnsw" is there without the file or the file without the key, or a value is missing or
        cannot be.
    """
    told = "hnsw" in root.keys()  # noqa: SIM118 - a JsonNode is no dict; keys() checks that it holds one
    if listed != told:
        got = f"it lists {HNSW_FILE} alone" if listed else "it has the key alone"
        raise BundleError(f"{root.place} must have the key 'hnsw' exactly if it lists {HNSW_FILE}; {got}")
    if not told:
        return None
    node = root["hnsw"]
    measured = node["measured_on"]
    return HnswEntry(
        node["items"].integer(1, items) if says_items else items,
        node["m"].integer(2, _MAX_M),
        node["ef_construction"].integer(1, _MAX_EF),
        tuple(_recall(row) for row in node["recall"].elements()),
        MeasuredOn(
            measured["examples"].integer(0, _MAX_QUERIES),
            measured["drawn"].integer(0, _MAX_QUERIES),
            tuple(prompt.string() for prompt in measured["prompts"].elements()),
        ),
    )


def _recall(row: JsonNode) -> Recall:
    return Recall(
        row["k"].integer(1, _MAX_EF),
        row["ef"].integer(1, _MAX_EF),
        row["queries"].one_of("plain", "steered"),
        row["recall"].number(0.0, 1.0),
    )
