# The wordings of the evaluation, and that prompts say what their task says.

from __future__ import annotations

import numpy as np

from dpr_train.evaluate import TaskQueries, make_wordings
from dpr_train.prompts import load_corpus

TAGS = ("Comedy", "Horror", "War")
TASK = TaskQueries("positive", np.arange(60), np.arange(60) % 3, np.full(60, -1))


def test_prompts_depend_on_seed_and_task_alone() -> None:
    for wording in make_wordings(TAGS):
        prompts = wording.prompts(TASK, 4)
        assert len(prompts) == 60
        assert wording.prompts(TASK, 4) == prompts
        assert wording.prompts(TASK, 5) != prompts


def test_wordings_name_what_is_asked_for() -> None:
    seen, heldout = load_corpus(), load_corpus("heldout")
    words = {"seen": seen, "new": seen, "new + words": heldout}
    unnamed = {}
    for wording in make_wordings(TAGS):
        nouns = [words[wording.name].words_for(tag).nouns for tag in TAGS]
        prompts = zip(wording.prompts(TASK, 0), TASK.asked, strict=True)
        unnamed[wording.name] = sum(
            not any(noun.casefold() in text.casefold() for noun in nouns[tag]) for text, tag in prompts
        )
    assert unnamed["seen"] == unnamed["new"] == 0
    assert 5 <= unnamed["new + words"] <= 25  # one wish in four is meant without being named


def test_new_wordings_use_no_template_of_training() -> None:
    by_name = {wording.name: wording.grammar for wording in make_wordings(TAGS)}
    assert list(by_name) == ["seen", "new", "new + words"]
    trained = {t for templates in by_name["seen"].templates.values() for t in templates}
    for name in ("new", "new + words"):
        assert trained.isdisjoint({t for templates in by_name[name].templates.values() for t in templates})


def test_compounds_name_both_tags() -> None:
    seen = make_wordings(TAGS)[0]
    nouns = [load_corpus().words_for(tag).nouns for tag in ("Comedy", "War")]
    task = TaskQueries("compound", np.arange(20), np.zeros(20, dtype=np.int64), np.full(20, 2))
    for text in seen.prompts(task, 0):
        assert all(any(noun.casefold() in text.casefold() for noun in tag) for tag in nouns)
