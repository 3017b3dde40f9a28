# The tags that stage 2 trains on, and those that it never sees.

from __future__ import annotations

import numpy as np
import pytest

from dpr_train.prompts import Corpus, load_corpus
from dpr_train.prompts.universe import TagUniverse, make_universe


@pytest.fixture(scope="module")
def training() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def universe(training: Corpus) -> TagUniverse:
    return make_universe(training, ["horror", "Beekeeping", "beekeeping tips", "Beekeeping"])


def test_every_domain_has_its_share_and_its_own_tags(training: Corpus, universe: TagUniverse) -> None:
    assert set(universe.groups) == {*training.domains, "catalogue"}
    shares = {domain: share for domain, (share, _) in universe.groups.items()}
    assert sum(share for domain, share in shares.items() if domain != "catalogue") == pytest.approx(1)
    assert shares["genres"] > shares["text"] > shares["books"] == shares["cars"] > 0
    members = [tag for _, tags in universe.groups.values() for tag in tags]
    assert members == list(range(len(universe.tags)))
    assert len({tag.casefold() for tag in universe.tags}) == len(universe.tags)


def test_one_tag_in_ten_of_the_small_domains_is_held_back(training: Corpus, universe: TagUniverse) -> None:
    for domain in ("genres", "beauty", "news", "text"):
        assert domain not in universe.held_back
        assert set(training.domains[domain]) <= set(universe.tags)
    held = {tag for tags in universe.held_back.values() for tag in tags}
    assert len(held) > 80
    assert held.isdisjoint(universe.tags)
    for domain, tags in universe.held_back.items():
        assert len(tags) == len(training.domains[domain]) // 10
        kept = {universe.tags[tag] for tag in universe.groups[domain][1]}
        assert kept | set(tags) == set(training.domains[domain])


def test_held_back_tags_are_never_drawn(training: Corpus, universe: TagUniverse) -> None:
    grammar = universe.grammar(training)
    assert grammar.tags == universe.tags
    rng = np.random.default_rng(0)
    drawn = [grammar.draw(rng) for _ in range(1500)]
    named = {grammar.tags[span.tag].casefold() for prompt in drawn for span in prompt.spans if span.tag >= 0}
    assert len(named) > 300
    assert named.isdisjoint(tag.casefold() for tags in universe.held_back.values() for tag in tags)
    # Nor is one asked for by a whole prompt written by hand.
    held = {tag.casefold() for tags in universe.held_back.values() for tag in tags}
    about_held = [p for p in training.annotated if any(tag.casefold() in held for *_, tag in p.wishes)]
    assert not any(p.text.casefold() == d.text.casefold() for p in about_held for d in drawn)


def test_a_catalogues_own_tags_come_beside_the_domains(universe: TagUniverse) -> None:
    share, members = universe.groups["catalogue"]
    assert [universe.tags[tag] for tag in members] == [
        "Beekeeping",
        "beekeeping tips",
    ]  # horror is a genre already
    assert 0 < share < 1
    assert {universe.tags[tag] for tag in universe.always} >= {"Horror", "Comedy"}


def test_without_domains_the_catalogue_is_all(training: Corpus) -> None:
    universe = make_universe(training, ["comedy", "Beekeeping"], ())
    assert universe.tags == ("comedy", "Beekeeping")
    assert universe.always == (0, 1)
    assert universe.held_back == {}
    prompt = universe.grammar(training).single(np.random.default_rng(0), 0, refuse=False)
    assert prompt.asked == (0,)


def test_a_catalogues_tag_is_not_held_back(training: Corpus, universe: TagUniverse) -> None:
    held = universe.held_back["books"][0]
    asked_for = make_universe(training, [held.upper()])
    assert held in asked_for.tags
    assert held not in asked_for.held_back["books"]
    assert "catalogue" not in asked_for.groups


def test_some_domains(training: Corpus) -> None:
    universe = make_universe(training, (), ("genres", "books"))
    assert list(universe.groups) == ["genres", "books"]
    assert universe.groups["genres"][0] + universe.groups["books"][0] == pytest.approx(1)
