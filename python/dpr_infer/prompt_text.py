# What a prompt may be: a text, or the texts of several turns; and the refusal of what is neither.

from __future__ import annotations

from collections.abc import Sequence

from dpr_infer.errors import QueryError, QueryTypeError

Prompt = str | Sequence[str]

# A tokenizer reads a text to its end before it cuts: longer ones would only cost time and room in the cache.
MAX_PROMPT_CHARACTERS = 100_000
MAX_TURNS = 32


def check_prompt_type(prompt: object) -> None:
    """Refuse what is neither a str nor a sequence of 32 str at most, by QueryTypeError or QueryError."""
    if not isinstance(prompt, str):
        check_turns(prompt)


def check_turns(prompt: object) -> tuple[str, ...]:
    """Return the turns of a prompt that is no str.

    Parameters
    ----------
    prompt : object
        What the caller gave.

    Returns
    -------
    tuple of str
        The turns, oldest first. A copy: a list may be changed by another thread.

    Raises
    ------
    QueryTypeError
        If it is no sequence, or an entry is no str.
    QueryError
        If there are more than 32 turns, or one of them cannot be read.
    """
    if isinstance(prompt, bytes | bytearray) or not isinstance(prompt, Sequence):
        raise QueryTypeError(
            f"prompt must be a str or None, or a sequence of str, its turns; got {type(prompt).__name__}"
        )
    turns = tuple(prompt)
    if len(turns) > MAX_TURNS:
        raise QueryError(f"prompt must have at most {MAX_TURNS} turns; got {len(turns)}")
    for number, turn in enumerate(turns):
        if not isinstance(turn, str):
            raise QueryTypeError(f"prompt[{number}] must be a str, one turn; got {type(turn).__name__}")
        check_prompt(turn, f"prompt[{number}]")
    return turns


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
