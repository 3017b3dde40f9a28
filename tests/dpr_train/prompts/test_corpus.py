# The wording that ships with the package, and what reading it refuses.

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpr_train.prompts import Corpus, Template, load_corpus, split_families
from dpr_train.prompts import corpus as corpus_module

KINDS = {"ask", "refuse", "compound", "two_asks", "two_refusals", "three", "neutral"}


@pytest.fixture(scope="module")
def training() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def heldout() -> Corpus:
    return load_corpus("heldout")


def test_every_kind_is_there_and_most_have_plenty_of_wording(training: Corpus, heldout: Corpus) -> None:
    assert set(training.templates) == set(heldout.templates) == KINDS
    assert all(len(training.templates[kind]) >= 30 for kind in KINDS)
    assert all(len(heldout.templates[kind]) >= 30 for kind in ("ask", "refuse", "compound", "neutral"))
    assert set(training.words) == set(heldout.words)


def shape(text: str) -> str:
    """What is left of a sentence without case, spacing and punctuation; signs alone stay as they are."""
    plain = " ".join(re.sub(r"[.,;:!?'\"’…]", "", text.casefold()).split())
    return plain or text


def templates_of(corpus: Corpus) -> set[str]:
    return {shape(template.text) for templates in corpus.templates.values() for template in templates}


def meanings_of(corpus: Corpus) -> set[str]:
    return {shape(m) for words in corpus.words.values() for m in (*words.meanings, *words.meanings_refuse)}


def test_training_reads_no_held_out_sentence(training: Corpus, heldout: Corpus) -> None:
    ours = templates_of(training) | meanings_of(training)
    theirs = templates_of(heldout) | meanings_of(heldout)
    assert ours & theirs == set()


def test_no_word_names_two_tags(training: Corpus) -> None:
    seen: dict[str, str] = {}
    for tag, words in training.words.items():
        for noun in {shape(noun) for noun in words.nouns}:
            assert seen.setdefault(noun, tag) == tag, noun


def test_an_unknown_tag_goes_by_its_name(training: Corpus) -> None:
    assert training.words_for("Gardening Shows").nouns == ("Gardening Shows", "gardening shows")
    assert training.words_for("gardening").nouns == ("gardening",)
    assert training.words_for("gardening").meanings == ()
    assert training.words_for("FILM-NOIR") is training.words["film-noir"]


@pytest.mark.parametrize("every", [2, 10])
def test_split_by_family_is_disjoint_and_whole(training: Corpus, every: int) -> None:
    kept, held = split_families(training, every)
    for kind, templates in training.templates.items():
        parts = [{t.family for t in part.templates[kind]} for part in (kept, held)]
        families = {t.family for t in templates}
        assert parts[0] & parts[1] == set()
        assert parts[0] | parts[1] == families
        assert len(parts[1]) == len(families) // every
        # Order is kept within each part, and no template is lost or doubled.
        for part in (kept, held):
            assert [t for t in templates if t in set(part.templates[kind])] == list(part.templates[kind])
        assert len(kept.templates[kind]) + len(held.templates[kind]) == len(templates)
    assert kept.words == held.words == training.words


def test_held_out_words_are_not_training_words(training: Corpus) -> None:
    heldout = load_corpus("heldout")
    for kind in ("nouns", "meanings", "meanings_refuse"):
        ours = {word.casefold() for words in training.words.values() for word in getattr(words, kind)}
        theirs = {word.casefold() for words in heldout.words.values() for word in getattr(words, kind)}
        assert theirs
        assert ours & theirs == set()


def write_corpus(folder: Path, **changes: str) -> None:
    texts = {"ask": "{tag}", "refuse": "no {tag}", "compound": "{yes}, no {no}", "neutral": "hello"} | changes
    (folder / "mine").mkdir()
    for kind, text in texts.items():
        (folder / "mine" / f"{kind}.txt").write_text(text, encoding="utf-8")
    (folder / "mine" / "genre_words.yaml").write_text(
        "War:\n  nouns: [war, war films]\n  meanings: [bring the tanks]\n", encoding="utf-8"
    )


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(corpus_module, "files", lambda package: tmp_path)
    return tmp_path


def test_families_comments_and_missing_kinds(corpora: Path) -> None:
    write_corpus(
        corpora,
        ask="# a comment\n{tag} first\n\n## family: polite\n  {tag} please  \nmay I have {tag}\n## family: b\n{tag}!\n",
    )
    made = load_corpus("mine")
    assert made.templates["ask"] == (
        Template("{tag} first", "{tag} first"),  # without a header, each is its own family
        Template("{tag} please", "polite"),
        Template("may I have {tag}", "polite"),
        Template("{tag}!", "b"),
    )
    assert made.templates["three"] == ()
    assert made.words_for("war").nouns == ("war", "war films")
    assert made.words_for("War").meanings_refuse == ()


@pytest.mark.parametrize(
    ("kind", "text", "line", "got"),
    [
        ("ask", "{tag}\n\nshow me {tags}\n", 3, r"\['tags'\]"),
        ("ask", "show me comedy", 1, r"\[\]"),
        ("compound", "## family: x\n{yes} yes {yes} no", 2, r"\['yes', 'yes'\]"),
        ("neutral", "hello\nsome {tag}", 2, r"\['tag'\]"),
    ],
)
def test_a_template_with_wrong_slots_is_named(
    corpora: Path, kind: str, text: str, line: int, got: str
) -> None:
    write_corpus(corpora, **{kind: text})
    with pytest.raises(ValueError, match=rf"{kind}\.txt line {line}: slots expected .*, got {got}"):
        load_corpus("mine")
