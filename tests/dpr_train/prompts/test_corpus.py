# The wording that ships with the package, and what reading it refuses.

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from dpr_train.data.mind_tags import READABLE
from dpr_train.prompts import Corpus, TagWords, Template, load_corpus, without_words
from dpr_train.prompts import corpus as corpus_module
from dpr_train.prompts.corpus import Annotated

KINDS = {
    "ask",
    "refuse",
    "release",
    "compound",
    "two_asks",
    "two_refusals",
    "three",
    "two_one",
    "four",
    "neutral",
}
FOLDER = Path(corpus_module.__file__).parent


@pytest.fixture(scope="module")
def training() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module", params=["validation", "test"])
def unseen(request: pytest.FixtureRequest) -> Corpus:
    return load_corpus(request.param)


def families(corpus: Corpus, kind: str) -> int:
    return len({template.family for template in corpus.templates[kind]})


def test_the_training_wording_is_as_rich_as_promised(training: Corpus) -> None:
    assert set(training.templates) == KINDS
    least = {"ask": 600, "refuse": 600, "compound": 400, "neutral": 300, "release": 150, "four": 40}
    assert {
        kind: len(training.templates[kind]) for kind in least if len(training.templates[kind]) < least[kind]
    } == {}
    assert all(len(training.templates[kind]) >= 40 for kind in KINDS)
    assert len(training.annotated) >= 500


def test_every_genre_is_said_in_many_ways(training: Corpus) -> None:
    assert len(training.domains["genres"]) == 18
    for tag in training.domains["genres"]:
        words = training.words_for(tag)
        own = shape(tag).removesuffix("s")
        unnamed = [noun for noun in words.nouns if own not in shape(noun)]
        assert len(words.meanings) + len(unnamed) >= 40, tag
        assert len(words.meanings_refuse) >= 30, tag
        assert len(words.adjectives) >= 5, tag


@pytest.mark.parametrize(
    ("domain", "file", "tags"), [("beauty", "beauty_words", 20), ("news", "news_words", 15)]
)
def test_every_attribute_of_cosmetics_and_category_of_news_is_said_in_many_ways(
    training: Corpus, domain: str, file: str, tags: int
) -> None:
    text = (FOLDER / "corpus" / f"{file}.yaml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)
    assert len(listed) >= tags
    assert set(listed) <= set(training.domains[domain])
    for tag in listed:
        words = training.words_for(tag)
        assert len(words.nouns) + len(words.meanings) >= 10, tag
    if domain == "news":
        assert {READABLE.get(tag, tag) for tag in listed} == set(listed)


def test_the_test_wording_is_as_rich_as_promised() -> None:
    test = load_corpus("test")
    assert all(families(test, kind) >= 60 for kind in ("ask", "refuse", "compound"))
    assert all(test.templates[kind] for kind in KINDS - {"release"})
    assert set(test.domains["genres"]) == set(load_corpus().domains["genres"])
    for words in test.words.values():
        assert min(len(words.nouns), len(words.meanings), len(words.meanings_refuse)) >= 6


def test_the_test_wording_is_the_one_that_was_frozen() -> None:
    frozen = dict(
        line.split()[::-1]
        for line in (FOLDER / "test" / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    )
    files = {path.name: path for path in (FOLDER / "test").iterdir() if path.name != "SHA256SUMS"}
    assert frozen == {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def shape(text: str) -> str:
    """What is left of a sentence without case, spacing, punctuation and the form of a slot; signs alone stay."""
    text = re.sub(r"\{(\w+?)(_adj)?\}", lambda slot: "{tag}" if slot[1] == "adj" else f"{{{slot[1]}}}", text)
    plain = " ".join(re.sub(r"[.,;:!?'\"’…]", "", text.casefold()).split())
    return plain or text


def templates_of(corpus: Corpus) -> list[str]:
    return [shape(template.text) for templates in corpus.templates.values() for template in templates]


def meanings_of(corpus: Corpus) -> list[str]:
    return [shape(m) for words in corpus.words.values() for m in (*words.meanings, *words.meanings_refuse)]


def test_training_reads_no_sentence_of_the_other_wordings(training: Corpus, unseen: Corpus) -> None:
    ours = {*templates_of(training), *meanings_of(training), *(shape(p.text) for p in training.annotated)}
    theirs = {*templates_of(unseen), *meanings_of(unseen)}
    assert len(theirs) > 400
    assert ours & theirs == set()


def test_what_chooses_between_settings_reads_no_template_of_the_test() -> None:
    validation, test = (set(templates_of(load_corpus(name))) for name in ("validation", "test"))
    assert validation & test == set()


def test_no_sentence_is_written_twice(training: Corpus, unseen: Corpus) -> None:
    for corpus in (training, unseen):
        for templates in corpus.templates.values():
            assert len({template.text for template in templates}) == len(templates)
        assert len(set(meanings_of(corpus))) == len(meanings_of(corpus))


@pytest.mark.parametrize("domain", ["genres", "beauty", "news", "cosmetics", "books"])
def test_no_word_names_two_tags_of_a_catalogue(training: Corpus, domain: str) -> None:
    seen: dict[str, str] = {}
    for tag in training.domains[domain]:
        for noun in {shape(noun) for noun in training.words_for(tag).nouns}:
            assert seen.setdefault(noun, tag) == tag, noun


def test_every_tag_belongs_to_one_domain_and_has_words(training: Corpus) -> None:
    listed = [tag.casefold() for tags in training.domains.values() for tag in tags]
    assert len(listed) == len(set(listed)) > 1500
    assert set(listed) == set(training.words)
    assert all(words.nouns for words in training.words.values())


def test_annotated_prompts_mark_words_and_speak_of_known_tags(training: Corpus) -> None:
    signs = set()
    for prompt in training.annotated:
        assert not re.search(r"\]\(|\(.(text|[A-Z][\w-]+)\)", prompt.text), prompt.text
        at = 0
        for start, end, sign, tag in prompt.wishes:
            assert at <= start < end <= len(prompt.text)
            assert prompt.text[start:end].strip()
            assert not tag or tag.casefold() in training.words, tag
            signs.add(sign)
            at = end
    assert signs == {"+", "-", "="}


def test_an_unknown_tag_goes_by_its_name(training: Corpus) -> None:
    assert training.words_for("Juggling Shows").nouns == ("Juggling Shows", "juggling shows")
    assert training.words_for("juggling tips").nouns == ("juggling tips",)
    assert training.words_for("juggling tips").meanings == ()
    assert training.words_for("FILM-NOIR") is training.words["film-noir"]


def test_unseen_meanings_are_not_training_meanings(training: Corpus, unseen: Corpus) -> None:
    for kind in ("meanings", "meanings_refuse"):
        ours = {word.casefold() for words in training.words.values() for word in getattr(words, kind)}
        theirs = {word.casefold() for words in unseen.words.values() for word in getattr(words, kind)}
        assert theirs
        assert ours & theirs == set()


def test_without_words_leaves_those_that_the_other_does_not_know() -> None:
    mine = Corpus(
        {},
        {
            "war": TagWords(("War", "bagpipes"), ("martial", "grim"), ("bring the tanks",)),
            "art": TagWords(("art",), ("arty",)),
        },
        {},
    )
    known = Corpus({}, {"war": TagWords(("war",), ("Grim",)), "art": TagWords(("art",), ("arty",))}, {})
    left = without_words(mine, known)
    assert left.words["war"] == TagWords(("bagpipes",), ("martial",), ("bring the tanks",))
    assert left.words["art"] == TagWords(("art",))  # some noun has to stay


def test_unseen_words_are_not_training_words(training: Corpus, unseen: Corpus) -> None:
    left = without_words(unseen, training)
    ours = {tag: {noun.casefold() for noun in words.nouns} for tag, words in training.words.items()}
    fresh = {
        tag: [n for n in words.nouns if n.casefold() not in ours[tag]] for tag, words in unseen.words.items()
    }
    assert {tag: list(left.words[tag].nouns) for tag in fresh} == fresh
    assert all(fresh.values())


def write_corpus(folder: Path, **changes: str) -> None:
    """Write a corpus of one template a kind; ``changes`` replace or add files."""
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
    assert made.templates["three"] == made.templates["four"] == made.annotated == ()
    assert made.domains == {"genres": ("War",)}
    assert made.words_for("war").nouns == ("war", "war films")
    assert made.words_for("War").meanings_refuse == ()


def test_slots_tell_wish_and_form(corpora: Path) -> None:
    write_corpus(corpora, ask="something {adj}, {adj}!", four="{yes_adj} or {yes2}, not {no} or {no2_adj}")
    made = load_corpus("mine")
    assert made.templates["ask"][0].forms == (("tag", True), ("tag", True))
    (four,) = made.templates["four"]
    assert four.forms == (("yes", True), ("yes2", False), ("no", False), ("no2", True))
    assert four.slots == ("yes", "yes2", "no", "no2")


def test_domains_keep_names_and_the_first_to_list_a_tag_has_it(corpora: Path) -> None:
    write_corpus(corpora)
    (corpora / "mine" / "news_words.yaml").write_text("News: {nouns: [headlines]}\n", encoding="utf-8")
    (corpora / "mine" / "other_words.yaml").write_text(
        "books:\n  Poetry: {nouns: [poems], adjectives: [poetic]}\n  WAR: {nouns: [battles]}\n",
        encoding="utf-8",
    )
    (corpora / "mine" / "text_phrases.txt").write_text("## place\nVenice in winter\n\n", encoding="utf-8")
    made = load_corpus("mine")
    assert made.domains == {
        "genres": ("War",),
        "news": ("News",),
        "books": ("Poetry",),
        "text": ("Venice in winter",),
    }
    assert made.words_for("War").nouns == ("war", "war films")
    assert made.words_for("poetry").adjectives == ("poetic",)
    assert made.words_for("Venice in winter").nouns == ("Venice in winter",)


def test_annotated_lines_become_text_and_places(corpora: Path) -> None:
    write_corpus(
        corpora,
        annotated="# whole prompts\n\n[Tanks](+War), not [Venice](-text) [again](=Film-Noir)!\nhello (you)\n",
    )
    assert load_corpus("mine").annotated == (
        Annotated(
            "Tanks, not Venice again!", ((0, 5, "+", "War"), (11, 17, "-", ""), (18, 23, "=", "Film-Noir"))
        ),
        Annotated("hello (you)", ()),
    )


@pytest.mark.parametrize(
    ("line", "got"),
    [
        ("no [war](*War) please", "no [war](*War) please"),  # a sign that is none
        ("no [war](-War please", "no [war](-War please"),
        ("no [](-War)", "no [](-War)"),
        ("no [war] (-War)", "no [war] (-War)"),
    ],
)
def test_a_slip_in_an_annotated_line_is_named(corpora: Path, line: str, got: str) -> None:
    write_corpus(corpora, annotated=f"hello\n{line}\n")
    with pytest.raises(
        ValueError, match=rf"annotated\.txt line 2: expected \[words\]\(sign tag\) .*{re.escape(got)}"
    ):
        load_corpus("mine")


@pytest.mark.parametrize(
    ("kind", "text", "line", "got"),
    [
        ("ask", "{tag}\n\nshow me {tags}\n", 3, r"\['tags'\]"),
        ("ask", "show me comedy", 1, r"\[\]"),
        ("compound", "## family: x\n{yes} yes {yes} no", 2, r"\['yes', 'yes'\]"),
        ("neutral", "hello\nsome {tag}", 2, r"\['tag'\]"),
        ("four", "{yes} and {yes2}, not {no}", 1, r"\['yes', 'yes2', 'no'\]"),
    ],
)
def test_a_template_with_wrong_slots_is_named(
    corpora: Path, kind: str, text: str, line: int, got: str
) -> None:
    write_corpus(corpora, **{kind: text})
    with pytest.raises(ValueError, match=rf"{kind}\.txt line {line}: slots expected .*, got {got}"):
        load_corpus("mine")
