# Tag expressions (docs/where.md): text -> expression tree. What the kernel makes of a tree is
# tag_clauses.py's.

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dpr_infer.errors import QueryTypeError, WhereError

MAX_NAMES = 256
MAX_DEPTH = 64
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<sign>[&|!()])
      | (?P<word>[^\s&|!()"]+)
      | (?P<bad>\S)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = {"and": "&", "or": "|", "not": "!"}


@dataclass(frozen=True, slots=True)
class Tag:
    """True of items that have the tag of this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Not:
    """True where the operand is false."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class AllOf:
    """True where all operands are."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True where an operand is."""

    operands: tuple[Expression, ...]


Expression = Tag | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "name", one of & | ! ( ), or "end"
    text: str
    position: int


def parse_where(text: str, tags: Sequence[str]) -> Expression | None:
    """Read a tag expression.

    Parameters
    ----------
    text : str
        The expression; docs/where.md has the grammar.
    tags : sequence of str
        Names of the tags; the position is the tag's number.

    Returns
    -------
    Expression or None
        The tree; None for a blank text, which filters nothing.

    Raises
    ------
    QueryTypeError
        If `text` is not a str.
    WhereError
        If the text breaks the grammar, names an unknown tag (the message offers close ones), has more than
        256 names or nests deeper than 64.

    Examples
    --------
    >>> parse_where("comedy & !war", ["Comedy", "War"])
    AllOf(operands=(Tag(number=0), Not(operand=Tag(number=1))))
    """
    if not isinstance(text, str):
        raise QueryTypeError(f"where must be a str or None; got {type(text).__name__}")
    if not text.strip():
        return None
    return _Parser(_tokens(text), tags).parse()


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        value, position = match.group(kind), match.start(kind)
        if kind == "bad":  # all that no other alternative takes is a quote without an end
            raise WhereError(f'where: the quote at character {position} must be closed by another "')
        if kind == "quoted":
            tokens.append(_Token("name", re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL), position))
        elif kind == "sign":
            tokens.append(_Token(value, value, position))
        else:
            tokens.append(_Token(_KEYWORDS.get(value.lower(), "name"), value, position))
    if sum(token.kind == "name" for token in tokens) > MAX_NAMES:
        raise WhereError(f"where must have at most {MAX_NAMES} names")
    return [*tokens, _Token("end", "the end", len(text))]


class _Parser:
    """Recursive descent, one method a line of the grammar."""

    def __init__(self, tokens: list[_Token], tags: Sequence[str]) -> None:
        self._tokens = tokens
        self._tags = tags
        self._next = 0

    def parse(self) -> Expression:
        tree = self._any_of(0)
        if self._peek().kind != "end":
            self._fail("& (and), | (or) or the end; a name of several words needs quotes")
        return tree

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, kind: str) -> bool:
        if self._peek().kind != kind:
            return False
        self._next += 1
        return True

    def _fail(self, expected: str) -> None:
        token = self._peek()
        raise WhereError(f"where: character {token.position} must be {expected}; got {token.text[:50]!r}")

    def _any_of(self, depth: int) -> Expression:
        operands = [self._all_of(depth)]
        while self._take("|"):
            operands.append(self._all_of(depth))
        return operands[0] if len(operands) == 1 else AnyOf(tuple(operands))

    def _all_of(self, depth: int) -> Expression:
        operands = [self._factor(depth)]
        while self._take("&"):
            operands.append(self._factor(depth))
        return operands[0] if len(operands) == 1 else AllOf(tuple(operands))

    def _factor(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise WhereError(f"where must nest at most {MAX_DEPTH} deep")
        if self._take("!"):
            return Not(self._factor(depth + 1))
        if self._take("("):
            inner = self._any_of(depth + 1)
            if not self._take(")"):
                self._fail("a closing parenthesis")
            return inner
        token = self._peek()
        if not self._take("name"):
            self._fail("a tag's name, ! (not) or an opening parenthesis")
        return Tag(_tag_number(token.text, self._tags))


def _tag_number(name: str, tags: Sequence[str]) -> int:
    """Return the tag of this name: the very one, or else the only one that differs in case alone."""
    if name in tags:
        return tags.index(name)
    folded = [tag.casefold() for tag in tags]
    same = [number for number, tag in enumerate(folded) if tag == name.casefold()]
    if len(same) == 1:
        return same[0]
    if same:
        spellings = ", ".join(repr(tags[number]) for number in same)
        raise WhereError(f"where: {name!r} must be spelled as one of {spellings}")
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    offer = [tags[folded.index(tag)] for tag in close] or tags[:5]
    shown = ", ".join(repr(tag) for tag in offer) + ("" if close else ", ...")
    raise WhereError(f"where must name tags of the bundle; {name[:50]!r} is none (there is {shown})")
