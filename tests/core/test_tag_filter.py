# Tag filters against a plain statement of their meaning, over every width and SIMD level.
import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from core import oracle
from dpr_infer._core import Catalogue, TagFilter, supported_simd_levels

Words = NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """The arguments of TagFilter."""

    all: Words
    none: Words
    clause_offsets: NDArray[np.int64]
    clause_with: Words
    clause_without: Words

    def build(self) -> TagFilter:
        return TagFilter(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    def passes(self, query: int, tags: list[int]) -> bool:
        def as_set(words: Words) -> set[int]:
            return {64 * w + bit for w, word in enumerate(words) for bit in range(64) if int(word) >> bit & 1}

        have = as_set(np.array(tags, np.uint64))
        clauses = range(self.clause_offsets[query], self.clause_offsets[query + 1])
        return (
            as_set(self.all[query]) <= have
            and not as_set(self.none[query]) & have
            and all(
                as_set(self.clause_with[c]) & have or as_set(self.clause_without[c]) - have for c in clauses
            )
        )


def sparse_words(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> Words:
    bits = rng.random((*shape, 64)) < density
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)[..., 0]


def random_conditions(rng: np.random.Generator, n_words: int) -> Conditions:
    lengths = [0, 1, 3, 0]
    n_queries, n_clauses = len(lengths), sum(lengths)
    conditions = Conditions(
        all=sparse_words(rng, (n_queries, n_words), 0.015 / n_words),
        none=sparse_words(rng, (n_queries, n_words), 0.015 / n_words),
        clause_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        clause_with=sparse_words(rng, (n_clauses, n_words), 0.02),
        clause_without=sparse_words(rng, (n_clauses, n_words), 0.01),
    )
    conditions.all[3] = conditions.none[3] = 0  # a query that everything passes
    return conditions


@pytest.mark.parametrize("n_words", [1, 2, 3, 5])
@pytest.mark.parametrize("level", supported_simd_levels())
def test_matches_the_definition(n_words: int, level: str) -> None:
    rng = np.random.default_rng(n_words)
    n_partial = 0
    for _ in range(4):
        conditions = random_conditions(rng, n_words)
        tags = sparse_words(rng, (300, n_words), 0.5)
        allowed = np.array([[conditions.passes(b, row) for row in tags.tolist()] for b in range(4)])
        n_partial += int((allowed.any(axis=1) & ~allowed.all(axis=1)).sum())
        queries = oracle.random_queries(rng, 4, 24, oracle.random_rule(rng, 1, 1, "relu"))
        vectors = rng.normal(size=(300, 24)).astype(np.float32)
        reference = queries.reference(Catalogue(vectors))
        catalogue = Catalogue(vectors, tags, simd_level=level)
        for k in (5, 300):
            got = queries.search(catalogue, k, tag_filter=conditions.build())
            expected = [oracle.rank(scores, k, rows) for scores, rows in zip(reference, allowed, strict=True)]
            oracle.assert_same_results(got, expected)
    assert n_partial > 0, "no filter let a part of the items pass: the test tests nothing"


def words(*values: int) -> Words:
    return np.array(values, np.uint64).reshape(-1, 1)


def rows_passing(tags: Words, conditions: Conditions) -> list[int]:
    catalogue = Catalogue(np.ones((len(tags), 1), np.float32), tags)
    queries = oracle.plain_queries(np.ones((1, 1), np.float32))
    rows = queries.search(catalogue, len(tags), tag_filter=conditions.build())[0][0]
    return [row for row in rows.tolist() if row >= 0]


def one_clause(having: int, lacking: int) -> Conditions:
    return Conditions(words(0), words(0), np.array([0, 1]), words(having), words(lacking))


def test_single_conditions() -> None:
    tags = words(0b00, 0b01, 0b10, 0b11, 1 << 63)
    no_clause = np.zeros(2, np.int64), words(), words()
    assert rows_passing(tags, Conditions(words(0b11), words(0), *no_clause)) == [3]
    assert rows_passing(tags, Conditions(words(0), words(0b01), *no_clause)) == [0, 2, 4]
    assert rows_passing(tags, Conditions(words(1 << 63), words(0), *no_clause)) == [4]
    assert rows_passing(tags, Conditions(words(0), words(0), *no_clause)) == [0, 1, 2, 3, 4]
    assert rows_passing(tags, one_clause(0b11, 0)) == [1, 2, 3]
    assert rows_passing(tags, one_clause(0, 0b11)) == [0, 1, 2, 4]
    assert rows_passing(tags, one_clause(0b01, 0b10)) == [0, 1, 3, 4]


def test_a_clause_without_bits_passes_nothing() -> None:
    assert rows_passing(words(0, 1, 3), one_clause(0, 0)) == []


def test_filters_and_exclusions_together() -> None:
    catalogue = Catalogue(np.ones((4, 1), np.float32), words(1, 1, 0, 1))
    conditions = Conditions(words(1), words(0), np.zeros(2, np.int64), words(), words())
    rows, _ = oracle.plain_queries(np.ones((1, 1), np.float32)).search(
        catalogue,
        4,
        tag_filter=conditions.build(),
        excluded_offsets=np.array([0, 1]),
        excluded_rows=np.array([1]),
    )
    assert rows.tolist() == [[0, 3, -1, -1]]


def test_the_arrays_are_copied() -> None:
    conditions = Conditions(words(1), words(0), np.zeros(2, np.int64), words(), words())
    tag_filter = conditions.build()
    conditions.all[:] = 0
    catalogue = Catalogue(np.ones((2, 1), np.float32), words(0, 1))
    rows, _ = oracle.plain_queries(np.ones((1, 1), np.float32)).search(catalogue, 2, tag_filter=tag_filter)
    assert rows.tolist() == [[1, -1]]
    assert (tag_filter.n_queries, tag_filter.n_words) == (1, 1)
