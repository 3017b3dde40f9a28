# What a prompt may be: a turn, or several; a turn is a text or an exact one; and the refusal of what is neither.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeGuard, get_args

from dpr_infer.errors import QueryError, QueryTypeError

Role = Literal["ask", "refuse", "release"]
Turn = str | Mapping[str, Role]
Prompt = Turn | Sequence[Turn]

# A tokenizer reads a text to its end before it cuts: longer ones would only cost time and room in the cache.
MAX_PROMPT_CHARACTERS = 100_000
MAX_TURNS = 32


def check_prompt_type(prompt: object) -> None:
    """Refuse what is neither a turn nor a sequence of 32 turns at most, by QueryTypeError or QueryError."""
    if not isinstance(prompt, str):
        check_turns(prompt)


def check_turns(prompt: object) -> tuple[Turn, ...]:
    """Return the turns of a prompt.

    Parameters
    ----------
    prompt : object
        What the caller gave: one exact turn, or a sequence of turns.

    Returns
    -------
    tuple of (str, or mapping of str to str)
        The turns, oldest first. Copies: lists and mappings may be changed by another thread.

    Raises
    ------
    QueryTypeError
        If it is neither, or an entry is no turn.
    QueryError
        If there are more than 32 turns, or one of them cannot be read.
    """
    if isinstance(prompt, Mapping):
        return (_check_exact(prompt, "prompt"),)
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Sequence):
        raise QueryTypeError(
            "prompt must be a str, a mapping of tags to roles, None, or a sequence of str and mappings, its turns; "
            f"got {type(prompt).__name__}"
        )
    turns = tuple(prompt)
    if len(turns) > MAX_TURNS:
        raise QueryError(f"prompt must have at most {MAX_TURNS} turns; got {len(turns)}")
    return tuple(_check_turn(turn, f"prompt[{number}]") for number, turn in enumerate(turns))


def as_turns(prompt: Prompt | None) -> Sequence[Turn]:
    """Return the turns of a prompt that is known to be one; none for None."""
    return (prompt,) if isinstance(prompt, str | Mapping) else prompt or ()


def spoken(turn: Turn) -> str:
    """Return a turn as somebody would type it, an exact one without what it releases.

    Examples
    --------
    >>> spoken({"Comedy": "ask", "Horror": "refuse", "War": "release"})
    'Comedy, no Horror'
    >>> spoken("no war")
    'no war'
    """
    if isinstance(turn, str):
        return turn
    return ", ".join(tag if role == "ask" else f"no {tag}" for tag, role in turn.items() if role != "release")


def _check_turn(turn: object, what: str) -> Turn:
    if isinstance(turn, Mapping):
        return _check_exact(turn, what)
    if not isinstance(turn, str):
        raise QueryTypeError(
            f"{what} must be a str or a mapping of tags to roles, one turn; got {type(turn).__name__}"
        )
    check_prompt(turn, what)
    return turn


def _check_exact(turn: Mapping[object, object], what: str) -> dict[str, Role]:
    checked: dict[str, Role] = {}
    for tag, role in tuple(turn.items()):
        if not isinstance(tag, str):
            raise QueryTypeError(f"{what} must name tags by str; got {tag!r}")
        if not _is_role(role):
            raise QueryError(f'{what}[{tag!r}] must be "ask", "refuse" or "release"; got {role!r}')
        checked[tag] = role
    return checked


def _is_role(role: object) -> TypeGuard[Role]:
    return role in get_args(Role)


def check_prompt(prompt: str, what: str = "prompt") -> None:
    """Refuse a text that no prompt encoder can read.

    Parameters
    ----------
    prompt : str
        The text.
    what : str
        Its name, for messages.

    Raises
    ------
    QueryError
        If it is longer than 100000 characters, or holds a lone surrogate or a control character other than
        tab, line feed and carriage return.
    """
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise QueryError(f"{what} must have at most {MAX_PROMPT_CHARACTERS} characters; got {len(prompt)}")
    if prompt.isprintable():
        return
    for position, character in enumerate(prompt):
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            raise QueryError(
                f"{what} must be valid Unicode; character {position} is the lone surrogate U+{code:04X}"
            )
        if (code < 0x20 or 0x7F <= code < 0xA0) and character not in "\t\n\r":
            raise QueryError(f"{what} must not hold control characters; character {position} is U+{code:04X}")
