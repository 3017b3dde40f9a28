# Which turns take back all before them: every phrase of the list does, and no wish that merely holds the words.

from __future__ import annotations

import time

import pytest

from dpr_infer.start_over import last_start_over, starts_over
from dpr_infer.start_over_phrases import CLOSERS, CONTINUATIONS, OBJECTS, OPENERS, PHRASES, VERBS


def test_every_phrase_counts():
    for phrase in (*PHRASES, *(f"{verb} {what}" for verb in VERBS for what in OBJECTS)):
        assert starts_over(phrase), phrase
    for opener in OPENERS:
        assert starts_over(f"{opener} start over"), opener
    for closer in CLOSERS:
        assert starts_over(f"start over {closer}"), closer
    for word in CONTINUATIONS:
        assert starts_over(f"start over {word} something else"), word


@pytest.mark.parametrize("words", [VERBS, OBJECTS, PHRASES, OPENERS, CLOSERS, CONTINUATIONS])
def test_lists_are_plain_and_without_repetition(words):
    assert len(set(words)) == len(words)
    for phrase in words:
        assert phrase == " ".join("".join(c for c in phrase.lower() if c.isalpha() or c == " ").split())


@pytest.mark.parametrize(
    "turn",
    [
        "Forget all that.",
        "forget everything I've said",
        "Forget everything I\u2019ve said so far!",
        "START AGAIN",
        "ok, let's start over - something scary",
        "start over with something scary",
        "Actually no, scrap the whole lot and give me horror",
        "clean slate: no cartoons",
        "new search\nfunny films",
        "hmm... Can we start from scratch, please? Funny this time",
        "My brother is here so forget all the old stuff",
        "I'd like a fresh start",
        "do-over!!",
        "ignore all my previous requests",
        "I take it all back",
        "disregard everything, I want westerns",
        "never mind all of that",
    ],
)
def test_start_overs(turn):
    assert starts_over(turn)


@pytest.mark.parametrize(
    "turn",
    [
        "",
        "something funny",
        "forget everything about horror",
        "forget everything I said about horror",
        "ignore what I said on cartoons",
        "forget the cartoons",
        "actually cartoons are fine",
        "films where people start again",
        "a hero who has to start over",
        "people who lose everything in a war",
        "everything but war",
        "reset just the horror preference",
        "don't start over",
        "please do not forget everything I said",
        "clear skies and clean slates",
        "something like Back to the Beginning of Time",
        "a new search for the killer",
        "drop the war films",
        "wipe the slate cleaner",
        "restart over there",
    ],
)
def test_wishes_that_hold_the_words(turn):
    assert not starts_over(turn)


def test_the_last_one_counts():
    assert last_start_over(["comedy", "no war"]) == 0
    assert last_start_over(["start over", "no war"]) == 0
    assert last_start_over(["comedy", "start over", "war", "new search", "drama"]) == 3
    assert last_start_over([]) == 0


@pytest.mark.parametrize("part", ["ok, ", "ok ", "so ", "so i want to ", "forget all ", "'", "a-", "\n"])
def test_time_is_linear(part):
    def seconds(length: int) -> float:
        text = (part * length)[:length]
        begun = time.process_time()
        starts_over(text)
        return time.process_time() - begun

    starts_over("")  # compiles
    assert seconds(100_000) < 50 * max(seconds(10_000), 1e-3)
