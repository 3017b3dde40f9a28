# The wordings of the evaluation, and that prompts say what their task says.

from __future__ import annotations

import numpy as np

from dpr_train.evaluate import TaskQueries, make_wordings
from dpr_train.prompts import load_corpus, without_words

TAGS = ("Comedy", "Horror", "War")
NAMES = ["seen", "unseen families", "unseen words"]
TASK = TaskQueries("positive", np.arange(60), np.arange(60) % 3, np.full(60, -1))


def test_prompts_depend_on_seed_and_task_alone() -> None:
    for wording in make_wordings(TAGS):
        prompts = wording.prompts(TASK, 4)
        assert len(prompts) == 60
        assert wording.prompts(TASK, 4) == prompts
        assert wording.prompts(TASK, 5) != prompts


def test_wordings_name_what_is_asked_for() -> None:
    seen, test = load_corpus(), load_corpus("test")
    corpora = dict(zip(NAMES, (seen, seen, without_words(test, seen)), strict=True))
    unnamed = {}
    for wording in make_wordings(TAGS):
        words = [corpora[wording.name].words_for(tag) for tag in TAGS]
        names = [[w.casefold() for w in (*entry.nouns, *entry.adjectives)] for entry in words]
        prompts = zip(wording.prompts(TASK, 0), TASK.asked, strict=True)
        unnamed[wording.name] = sum(
            not any(name in text.casefold() for name in names[tag]) for text, tag in prompts
        )
    assert unnamed["seen"] == unnamed["unseen families"] == 0
    assert 5 <= unnamed["unseen words"] <= 25  # one wish in four is meant without being named


def test_unseen_wordings_use_no_template_of_training() -> None:
    by_name = {wording.name: wording.grammar for wording in make_wordings(TAGS)}
    assert list(by_name) == NAMES
    trained = {t.text for templates in by_name["seen"].templates.values() for t in templates}
    for name in NAMES[1:]:
        assert trained.isdisjoint(
            {t.text for templates in by_name[name].templates.values() for t in templates}
        )


def test_unseen_words_are_new_where_there_are_any() -> None:
    seen, families, words = (wording.grammar.words for wording in make_wordings(TAGS))
    assert families == seen
    for known, fresh in zip(seen, words, strict=True):
        assert {n.casefold() for n in known.nouns}.isdisjoint(n.casefold() for n in fresh.nouns)
    # A tag that the test wording does not know keeps its name.
    assert make_wordings(("Beekeeping",))[2].grammar.words[0].nouns == ("Beekeeping", "beekeeping")


def test_compounds_name_both_tags() -> None:
    seen = make_wordings(TAGS)[0]
    words = [load_corpus().words_for(tag) for tag in ("Comedy", "War")]
    task = TaskQueries("compound", np.arange(20), np.zeros(20, dtype=np.int64), np.full(20, 2))
    for text in seen.prompts(task, 0):
        assert all(
            any(name.casefold() in text.casefold() for name in (*entry.nouns, *entry.adjectives))
            for entry in words
        )
