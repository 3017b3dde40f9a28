# Readable titles: MovieLens files articles after the name ("Godfather, The"); people write them before it.

import html
import re

_ARTICLES = (
    *("The", "A", "An"),
    *("Das", "Der", "Die", "Det", "El", "La", "Las", "Los", "Le", "Les", "L'", "Il", "Lo", "I", "O"),
)
_TRAILING_ARTICLE = re.compile(rf"(?P<name>.+), (?P<article>{'|'.join(_ARTICLES)})")
_SEGMENT = re.compile(r"[^()]+")
_VIDEO = re.compile(r" \(V\)$")  # IMDb's mark of a film made for video
_YEAR = re.compile(r"(?P<name>.+?) ?(?P<year>\(\d{4}\))")


def readable_title(title: str, year: str = "") -> str:
    """Return a MovieLens title as people write it, with its year in parentheses.

    Articles move to the front, of the title and of each alternative title in parentheses. Stray blanks and
    HTML entities go.

    Parameters
    ----------
    title : str
        As in the data set.
    year : str, optional
        The year where the data set keeps it apart; ignored unless it is four digits.

    Returns
    -------
    str
        The title.

    Examples
    --------
    >>> readable_title("Godfather, The (1972)")
    'The Godfather (1972)'
    >>> readable_title("Enfer, L'", "1994")
    "L'Enfer (1994)"
    >>> readable_title("Promise, The (Versprechen, Das) (1994)")
    'The Promise (Das Versprechen) (1994)'
    """
    plain = _VIDEO.sub("", " ".join(html.unescape(title).split()))
    plain = plain.replace(" )", ")").replace("( ", "(").replace("L' ", "L'")
    dated = _YEAR.fullmatch(plain)
    if dated:
        plain, suffix = dated["name"], dated["year"]
    else:
        suffix = f"({year})" if re.fullmatch(r"\d{4}", year) else ""
    return f"{_SEGMENT.sub(_move_article, plain)} {suffix}".strip()


def _move_article(segment: re.Match[str]) -> str:
    """Put a segment's trailing article to its front, keeping the blanks around the segment."""
    text = segment[0]
    found = _TRAILING_ARTICLE.fullmatch(text.strip())
    if found is None:
        return text
    glue = "" if found["article"].endswith("'") else " "
    moved = f"{found['article']}{glue}{found['name']}"
    return text.replace(text.strip(), moved)
