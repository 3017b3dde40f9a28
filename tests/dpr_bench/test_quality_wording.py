# The frozen wording is whole; text wishes find whole words and years; conversations are judged by exactly their wishes.

from __future__ import annotations

import numpy as np
import pytest
import torch

from dpr_bench.quality import frozen_wording
from dpr_bench.quality.frozen_wording import Conversation, TextWish
from dpr_bench.quality.subject import Items
from dpr_bench.quality.text_probe import relevant_items
from dpr_bench.quality.turns_probe import merged_wishes_right
from dpr_infer import Wish

TITLES = ["Das Boot (1981)", "Bootmen (2000)", "The Boat (1995)", "1984 (1956)"]
TEXTS = ["A U-boat and its crew in 1943.", "Tap dancers.", "A SUBMARINE, seen from 1981.", ""]
ITEMS = Items(
    tags=np.array([[1, 0], [0, 1], [0, 1], [0, 0]], dtype=bool),
    popularity=np.zeros(4),
    titles=TITLES,
    own_texts=[f"{title} {text}" for title, text in zip(TITLES, TEXTS, strict=True)],
    embedded=torch.zeros(4, 1),
)


def found(about: str, genre: str = "") -> list[int]:
    wish = TextWish("things", "a prompt", "ask", about, genre)
    return np.flatnonzero(relevant_items(wish, ITEMS, ("War", "Comedy"))).tolist()


def test_whole_words_whatever_their_case() -> None:
    assert found("submarines?|U-boats?") == [0, 2]
    assert found("boot") == [0]  # not the one in Bootmen


def test_years_are_those_of_the_title() -> None:
    assert found("198[0-9]") == [0, 3]  # not the year that a text speaks of
    assert found("194[0-9]|195[0-9]") == [3]


def test_a_genre_narrows_it_down_and_an_unknown_one_finds_nothing() -> None:
    assert found("submarines?|U-boats?", "Comedy") == [2]
    assert found("submarines?", "Western") == []


def test_the_frozen_wording_is_what_was_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "text_wishes.yaml" in frozen_wording.verified_checksums()
    read = type(frozen_wording._FOLDER).read_bytes
    monkeypatch.setattr(type(frozen_wording._FOLDER), "read_bytes", lambda self: read(self) + b" ")
    with pytest.raises(ValueError, match="expected the frozen file"):
        frozen_wording.verified_checksums()


def test_everything_in_it_is_read() -> None:
    wishes, talks, domains = (
        frozen_wording.text_wishes(),
        frozen_wording.conversations(),
        frozen_wording.zero_shot(),
    )
    assert {wish.polarity for wish in wishes} == {"ask", "refuse"}
    assert all(wish.section and wish.about for wish in wishes)
    assert {"add", "take back", "start over"} <= {talk.kind for talk in talks}
    assert {len(grammar.tags) for grammar in domains.values()} == {12}


def test_a_conversation_is_right_if_exactly_its_wishes_stand() -> None:
    talk = Conversation("add", ("something funny", "no horror"), frozenset({"Comedy"}), frozenset({"Horror"}))
    comedy, horror, drama = Wish("Comedy", 0.9, 0), Wish("Horror", 0, 0.8), Wish("Drama", 0.6, 0)
    assert merged_wishes_right([comedy, horror], talk, 0.5)
    assert not merged_wishes_right([comedy], talk, 0.5)
    assert not merged_wishes_right([comedy, horror, drama], talk, 0.5)
    assert merged_wishes_right([comedy, horror, drama], talk, 0.7)
    assert not merged_wishes_right([comedy, Wish("Horror", 0.8, 0)], talk, 0.5)
