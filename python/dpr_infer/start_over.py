# Recognises a turn that takes back all that was said before it, by the phrases of start_over_phrases.py.

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from dpr_infer.prompt_text import Turn
from dpr_infer.start_over_phrases import CLOSERS, CONTINUATIONS, OBJECTS, OPENERS, PHRASES, VERBS

_APOSTROPHES = re.compile("['\u2018\u2019\u02bc]")
_HYPHENS = re.compile(r"(?<=\w)[-\u2010\u2011](?=\w)")
_WORD_OR_BREAK = re.compile(r"\w+|[^\w\s]+|[\r\n]+")


def starts_over(turn: str) -> bool:
    """Tell whether a turn takes back all that was said before it.

    A phrase counts where it makes up a clause: it stands at the beginning of the turn, behind punctuation or
    behind "so", words like "ok, let's" may come before it, and behind it the clause ends, or goes on to what
    is wanted instead. So a wish that merely holds the words is none.

    Parameters
    ----------
    turn : str
        Its text.

    Returns
    -------
    bool
        True for a start-over.

    Examples
    --------
    >>> starts_over("Ok, let's start over. Something scary")
    True
    >>> starts_over("forget everything about horror"), starts_over("films where people start again")
    (False, False)
    """
    return _pattern().search(_plain(turn)) is not None


def last_start_over(turns: Sequence[Turn]) -> int:
    """Return the number of the last turn that starts over, or 0: the turns before it need not be read."""
    for number in range(len(turns) - 1, 0, -1):
        turn = turns[number]
        if isinstance(turn, str) and starts_over(turn):
            return number
    return 0


def _plain(text: str) -> str:
    """Return lower-case words with one space between them, and a bar in place of punctuation and line ends."""
    text = _HYPHENS.sub(" ", _APOSTROPHES.sub("", text.lower()))
    return " ".join(word if word[0].isalnum() else "|" for word in _WORD_OR_BREAK.findall(text))


@cache
def _pattern() -> re.Pattern[str]:
    openers, closers, continuations = map(_any_of, (OPENERS, CLOSERS, CONTINUATIONS))
    phrase = f"(?:{_any_of(VERBS)} {_any_of(OBJECTS)}|{_any_of(PHRASES)})"
    # The repetitions are bounded, so that the time is linear in the text's length whatever the text.
    return re.compile(
        rf"(?:^|(?<=\| )|(?<=\bso ))(?:{openers} ){{0,5}}{phrase}(?: {closers}){{0,3}}"
        rf"(?=$| \|| {continuations}(?: |$))"
    )


def _any_of(phrases: Sequence[str]) -> str:
    """Return a pattern of alternatives, longer ones first."""
    return "(?:" + "|".join(sorted(map(re.escape, phrases), key=lambda p: (-len(p), p))) + ")"
