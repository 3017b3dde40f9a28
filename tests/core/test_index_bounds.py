# What the arrays of an index claim, stated again in float64: for every block, item and query, the block's bound and
# the bounds from the codes enclose the canonical score.
from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from core import item_vectors, oracle
from dpr_infer._core import Catalogue, build_index

Wide = NDArray[np.float64]
UNIT = 2.0**-24
UNDERFLOW = 2.0**-149  # of one operation
SLACK = 1 + 1e-12  # float64's own rounding


def gamma(n: int) -> float:
    return n * UNIT / (1 - n * UNIT)


def kappa(dim: int) -> float:
    """Return the canonical dot product's relative error, a centre's, and twenty roundings more."""
    return gamma(2 * (-(-dim // 16) + 4) + 20)


class Part:
    """One part of an index: for each block its bounds, and the slots' codes as whole numbers."""

    def __init__(self, index: dict[str, np.ndarray], parts: list[int], number: int) -> None:
        begin, width = sum(parts[:number]), parts[number]
        first_quad = sum(-(-w // 4) for w in parts[:number])
        quads = index["codes"][:, first_quad : first_quad + -(-width // 4)]  # (blocks, quads, 64, 4)
        self.columns = slice(begin, begin + width)
        self.padding = quads.swapaxes(1, 2).reshape(len(quads), 64, -1)[:, :, width:]
        codes = quads.swapaxes(1, 2).reshape(len(quads), 64, -1)[:, :, :width]
        self.codes = codes.astype(np.int64) - 128  # (blocks, 64, width)
        bounds = index["bounds"][number].astype(np.float64)
        self.scale, self.code_error, self.code_norm, self.norm = bounds[:4]
        self.along_min, self.along_max, self.across = bounds[4:]
        self.centres = index["centres"][:, self.columns].astype(np.float64)[
            index["cluster"]
        ]  # (blocks, width)

    def block_bounds(self, query: Wide) -> Wide:
        along = self.centres @ query
        across = np.sqrt(np.maximum(query @ query - along**2, 0))
        best = np.maximum(self.along_min * along, self.along_max * along)
        return best + self.across * across + 1e-12 * self.norm * np.linalg.norm(query)

    def code_sums(self, query: Wide) -> tuple[Wide, Wide]:
        """Return what the codes tell of <query, item>, (blocks, 64), and how far off it may be, (blocks,)."""
        largest = np.abs(query).max(initial=0)
        scale = max(largest / 127, 2.0**-60)
        codes = np.trunc(query / scale + np.copysign(0.5, query))
        error = self.code_error * np.linalg.norm(query) + self.code_norm * np.linalg.norm(
            query - scale * codes
        )
        return self.scale[:, None] * scale * (self.codes @ codes.astype(np.int64)), error


def check(vectors: oracle.Floats, user: oracle.Floats, parts: list[int]) -> None:
    index = build_index(vectors, parts=parts)
    Catalogue(vectors, index=index, parts=parts).check_index()
    scores = oracle.plain_queries(user).reference(Catalogue(vectors)).astype(np.float64)
    is_filled = index["rows"] != 0xFFFFFFFF
    rows = np.where(is_filled, index["rows"], 0)
    all_parts = [Part(index, parts, number) for number in range(len(parts))]
    for part in all_parts:
        assert (part.padding == 128).all()
        assert (part.codes[~is_filled] == 0).all()
    for query, score in zip(user.astype(np.float64), scores, strict=True):
        lost = 2 * (len(query) + 32) * UNDERFLOW + sum(
            kappa(len(query)) * part.norm * np.linalg.norm(query[part.columns]) for part in all_parts
        )
        upper = sum(part.block_bounds(query[part.columns]) for part in all_parts) + lost
        sums, errors = zip(*(part.code_sums(query[part.columns]) for part in all_parts), strict=True)
        error = (sum(errors) + lost)[:, None] * SLACK
        of_slot = score[rows]
        assert ((of_slot <= upper[:, None] * SLACK) | ~is_filled | (of_slot <= upper[:, None])).all()
        assert ((of_slot <= sum(sums) + error) | ~is_filled).all()
        assert ((of_slot >= sum(sums) - error) | ~is_filled).all()


@pytest.mark.parametrize("parts", [[1], [3], [16], [63], [65], [48, 16], [3, 1]], ids=str)
@pytest.mark.parametrize("kind", sorted(item_vectors.ALL))
def test_bounds_enclose_the_canonical_scores(kind: str, parts: list[int]) -> None:
    rng = np.random.default_rng(len(kind) + sum(parts))
    vectors = item_vectors.ALL[kind](rng, 400, sum(parts))
    user = rng.normal(size=(6, sum(parts))).astype(np.float32)
    user[2:4] = vectors[:2]  # where Cauchy and Schwarz leave no room
    user[4] *= np.float32(1e-40)
    user[5] *= np.float32(1e14)
    check(vectors, user, parts)


def test_bounds_of_many_clusters() -> None:
    rng = np.random.default_rng(1)
    vectors = item_vectors.clustered(rng, 20000, 24)
    check(vectors, np.concatenate([vectors[:3], item_vectors.independent(rng, 3, 24)]), [16, 8])


def test_bounds_are_tight_enough_to_be_of_use() -> None:
    """Items whose one direction is the centre's: nothing is across, and codes are right to a 127th."""
    rng = np.random.default_rng(2)
    lengths = rng.lognormal(0, 0.3, 640).astype(np.float32)
    vectors = np.outer(lengths, [0.6, 0.8]).astype(np.float32)
    bounds = build_index(vectors, parts=[2])["bounds"][0].astype(np.float64)
    scale, code_error, code_norm, norm, along_min, along_max, across = bounds
    assert (across <= 1e-6 * norm).all()
    assert (along_max <= norm * (1 + 1e-6)).all()
    assert (along_min <= along_max).all()
    assert (code_error <= scale * np.sqrt(2) / 2 * (1 + 1e-6)).all()
    assert (code_norm <= norm + code_error).all()
    assert (scale <= norm / 127 * (1 + 1e-6)).all()
