# An expression tree in the form that the kernel tests: tags an item must have, must not have, and clauses.

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpr_infer.errors import WhereError
from dpr_infer.where import AllOf, Expression, Not, Tag

MAX_CLAUSES = 256
# While clauses are multiplied out there may be more of them, until absorption; this bounds the work.
_MAX_PRODUCT = 4_096

# A clause is a pair of bitsets over tags: it holds for an item with any tag of the first, or lacking any of
# the second.
Clause = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TagClauses:
    """A filter in conjunctive normal form; the words are 64-bit pieces of tag bitsets, W of them.

    Attributes
    ----------
    all, none : ndarray of uint64, shape (W,)
        Tags that an item must have, and tags that it must not have.
    clause_with, clause_without : ndarray of uint64, shape (C, W)
        For every clause, an item must have a tag of the one or lack a tag of the other.
    """

    all: NDArray[np.uint64]
    none: NDArray[np.uint64]
    clause_with: NDArray[np.uint64]
    clause_without: NDArray[np.uint64]


def compile_expression(tree: Expression | None, tag_words: int) -> TagClauses:
    """Bring an expression into the kernel's form.

    Parameters
    ----------
    tree : Expression or None
        The expression; None passes every item.
    tag_words : int
        Words W of a bitset.

    Returns
    -------
    TagClauses
        A filter that passes the items for which the expression is true. One that no item can pass is legal.

    Raises
    ------
    WhereError
        If more than 256 clauses are needed.
    """
    must_have = must_lack = 0
    rest: list[Clause] = []
    for having, lacking in _clauses(tree, negated=False) if tree is not None else []:
        if not lacking and having.bit_count() == 1:
            must_have |= having
        elif not having and lacking.bit_count() == 1:
            must_lack |= lacking
        else:
            rest.append((having, lacking))
    return TagClauses(
        all=_words([must_have], tag_words)[0],
        none=_words([must_lack], tag_words)[0],
        clause_with=_words([having for having, _ in rest], tag_words),
        clause_without=_words([lacking for _, lacking in rest], tag_words),
    )


def _clauses(tree: Expression, *, negated: bool) -> list[Clause]:
    if isinstance(tree, Tag):
        bit = 1 << tree.number
        return [(0, bit) if negated else (bit, 0)]
    if isinstance(tree, Not):
        return _clauses(tree.operand, negated=not negated)
    parts = (_clauses(operand, negated=negated) for operand in tree.operands)
    # De Morgan: under a negation "all of" and "any of" change places.
    joined = isinstance(tree, AllOf) != negated
    return _conjunction(parts) if joined else _disjunction(parts)


def _conjunction(parts: Iterable[list[Clause]]) -> list[Clause]:
    return _absorbed({clause for part in parts for clause in part})


def _disjunction(parts: Iterable[list[Clause]]) -> list[Clause]:
    product: list[Clause] = [(0, 0)]
    for part in parts:
        pairs: set[Clause] = set()
        for having, lacking in product:
            pairs.update((having | more, lacking | less) for more, less in part)
            if len(pairs) > _MAX_PRODUCT:
                _refuse()
        product = _absorbed(pairs)
    return product


def _absorbed(clauses: set[Clause]) -> list[Clause]:
    """Drop clauses that are always true or that follow from a stronger one; the order is deterministic."""
    kept: list[Clause] = []
    for having, lacking in sorted(clauses, key=lambda c: (c[0].bit_count() + c[1].bit_count(), c)):
        always_true = having & lacking
        if always_true or any(h & ~having == 0 and w & ~lacking == 0 for h, w in kept):
            continue
        kept.append((having, lacking))
        if len(kept) > MAX_CLAUSES:
            _refuse()
    return kept


def _refuse() -> None:
    raise WhereError(
        f"where must come to at most {MAX_CLAUSES} clauses when written as an AND of ORs; this one needs more"
    )


def _words(bitsets: list[int], tag_words: int) -> NDArray[np.uint64]:
    raw = b"".join(bitset.to_bytes(8 * tag_words, "little") for bitset in bitsets)
    return np.frombuffer(raw, dtype="<u8").reshape(len(bitsets), tag_words)
