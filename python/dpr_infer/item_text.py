# What a text encoder reads of an item. Training puts items' descriptions together by the same recipe
# (dpr_train.data.items), which tests/dpr_export/test_text_encoder.py compares with this one.

from __future__ import annotations

from collections.abc import Iterable

_ENDS = (".", "!", "?")


def describe(title: str, tags: Iterable[str], text: str) -> str:
    """Put together what is known of an item: ``Title. Tag, tag. Text``.

    Parameters
    ----------
    title, text : str
        Blanks around them do not count. A title that is the text's first sentence is not said twice.
    tags : iterable of str
        In their order; of equal ones the first counts.

    Returns
    -------
    str
        What an item does not have is left out; of nothing, the empty text.

    Examples
    --------
    >>> describe("Toy Story (1995)", ["Animation", "Comedy"], "Toys that live.")
    'Toy Story (1995). Animation, Comedy. Toys that live.'
    """
    title, text = _sentence(title.strip()), text.strip()
    parts = (title, _sentence(", ".join(dict.fromkeys(tags))), _sentence(text.removeprefix(title).lstrip()))
    return " ".join(part for part in parts if part)


def _sentence(part: str) -> str:
    return part if not part or part.endswith(_ENDS) else f"{part}."
