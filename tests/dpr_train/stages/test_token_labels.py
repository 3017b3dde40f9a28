# Labels of stage 2, on sentences small enough to label by hand.

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Encoding, Tokenizer

from dpr_train.prompt_encoder import load_tokenizer
from dpr_train.prompts import LabelledPrompt, Span
from dpr_train.stages.token_labels import class_labels, match_labels, wish_labels
from dpr_train.understanding import ASKED, NO_WISH, REFUSED

# [CLS] scary films but no war ! [SEP]
TWO = LabelledPrompt("scary films but no war!", (Span(0, 11, 1, "ask"), Span(19, 22, 2, "refuse")))
# [CLS] make me laugh [SEP]
MEANT = LabelledPrompt("make me laugh", (Span(0, 13, 0, "ask", named=False),))
# [CLS] war is fine again , no venice [SEP]; the last wish is about no tag
LET_GO = LabelledPrompt(
    "war is fine again, no venice", (Span(0, 3, 2, "release"), Span(22, 28, -1, "refuse"))
)
NEUTRAL = LabelledPrompt("surprise me")
PROMPTS = [TWO, MEANT, LET_GO, NEUTRAL]
LENGTH = 10


@pytest.fixture(scope="module")
def tokenizer(encoder_folder: Path) -> Tokenizer:
    return load_tokenizer(encoder_folder, 16)


@pytest.fixture(scope="module")
def encodings(tokenizer: Tokenizer) -> list[Encoding]:
    return tokenizer.encode_batch([p.text for p in PROMPTS])


def test_what_each_prompt_says_of_each_tag() -> None:
    said = wish_labels(PROMPTS, [0, 1, 2])
    none, released, asked, refused = [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]
    assert said.tolist() == [
        [none, asked, refused],
        [asked, none, none],
        [none, none, released],
        [none, none, none],
    ]


def test_tags_are_looked_up_by_number_not_by_place() -> None:
    assert wish_labels([TWO], [2, 7, 1]).tolist() == [[[0, 0, 1], [0, 0, 0], [0, 1, 0]]]


def test_a_tag_may_be_spoken_of_twice() -> None:
    both = LabelledPrompt("no war, well, war", (Span(3, 6, 0, "refuse"), Span(14, 17, 0, "ask")))
    assert wish_labels([both], [0]).tolist() == [[[0, 1, 1]]]


def test_classes_of_tokens(encodings: list[Encoding]) -> None:
    classes = class_labels(encodings, PROMPTS, LENGTH)
    n, a, r = NO_WISH, ASKED, REFUSED
    assert classes.tolist() == [
        [n, a, a, n, n, r, n, n, -1, -1],  # nothing is wished for at the special tokens
        [n, a, a, a, n, -1, -1, -1, -1, -1],
        [n, n, n, n, n, n, n, r, n, -1],  # of a wish about no tag the class is known, too
        [n, n, n, n, -1, -1, -1, -1, -1, -1],
    ]


def test_tokens_of_a_span_name_its_tag(encodings: list[Encoding]) -> None:
    named, known = match_labels(encodings, PROMPTS, [0, 1, 2], LENGTH)
    assert named[0, 1].tolist() == [0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert named[0, 2].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert named[2, 2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]  # a released tag is named all the same
    assert named[0, 0].sum() == named[1].sum() == named[2, :2].sum() == named[3].sum() == 0
    assert known[0].all(0).tolist() == [True] * 8 + [False] * 2
    # Nobody says which tokens of "make me laugh" mean comedy; that none of them names another tag is known.
    assert not known[1, 0].any()
    assert known[1, 1:].all(0).tolist() == [True] * 5 + [False] * 5


def test_what_is_cut_off_has_no_label(encoder_folder: Path) -> None:
    tokenizer = load_tokenizer(encoder_folder, 5)  # [CLS] scary films but [SEP]
    encodings = tokenizer.encode_batch([TWO.text])
    assert class_labels(encodings, [TWO], 5).tolist() == [[NO_WISH, ASKED, ASKED, NO_WISH, NO_WISH]]
    named, _ = match_labels(encodings, [TWO], [1, 2], 5)
    assert named.tolist() == [[[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]]
