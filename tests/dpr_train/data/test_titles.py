# Readable titles: the forms that occur in MovieLens.

import pytest

from dpr_train.data.titles import readable_title


@pytest.mark.parametrize(
    ("title", "year", "expected"),
    [
        ("Toy Story (1995)", "", "Toy Story (1995)"),
        ("Godfather, The (1972)", "", "The Godfather (1972)"),
        ("Godfather, The", "1972", "The Godfather (1972)"),
        ("Bug's Life, A (1998)", "", "A Bug's Life (1998)"),
        ("American Tail, An (1986)", "", "An American Tail (1986)"),
        ("Godfather: Part II, The (1974)", "", "The Godfather: Part II (1974)"),
        ("Good, The Bad and The Ugly, The", "1966", "The Good, The Bad and The Ugly (1966)"),
        ("Enfer, L' (1994)", "", "L'Enfer (1994)"),
        ("School of Flesh, The (L' École) (1998)", "", "The School of Flesh (L'École) (1998)"),
        ("Misérables, Les (1995)", "", "Les Misérables (1995)"),
        ("Bonheur, Le (Happiness) (1965)", "", "Le Bonheur (Happiness) (1965)"),
        ("Maybe, Maybe Not (Bewegte Mann, Der) (1994)", "", "Maybe, Maybe Not (Der Bewegte Mann) (1994)"),
        ("Associate, The (L'Associe)(1982)", "", "The Associate (L'Associe) (1982)"),
        ("Slingshot, The (Kådisbellan ) (1993)", "", "The Slingshot (Kådisbellan) (1993)"),
        ("And God (Et Dieu&#8230;Créa) (1956)", "", "And God (Et Dieu…Créa) (1956)"),
        ("Land Before Time III (1995) (V)", "", "Land Before Time III (1995)"),
        ("Land Before Time III (1995)", "V", "Land Before Time III (1995)"),
        ("Paris, Texas (1984)", "", "Paris, Texas (1984)"),
        ("Sex, Lies, and Videotape", "1989", "Sex, Lies, and Videotape (1989)"),
        ("2001: A Space Odyssey (1968)", "", "2001: A Space Odyssey (1968)"),
        ("1984", "1984", "1984 (1984)"),
        ("No year", "", "No year"),
    ],
)
def test_readable_title(title: str, year: str, expected: str) -> None:
    assert readable_title(title, year) == expected


def test_a_readable_title_stays_as_it_is() -> None:
    assert readable_title("The Promise (Das Versprechen) (1994)") == "The Promise (Das Versprechen) (1994)"
