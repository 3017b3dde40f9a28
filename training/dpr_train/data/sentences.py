# Short texts put one after the other, each ended as a sentence.


def sentences(*parts: str) -> str:
    """Join texts, giving each a full stop that does not end as a sentence.

    Parameters
    ----------
    *parts : str
        Texts; empty ones are left out.

    Returns
    -------
    str
        The texts, parted by blanks.

    Examples
    --------
    >>> sentences("Who won?", "", "sports")
    'Who won? sports.'
    """
    return " ".join(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part)
