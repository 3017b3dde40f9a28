# Reads the wording: template files and the words of each tag. Knows nothing of tags' numbers or of labels.
"""The wording of prompts: templates by polarity, neutral sentences, and the ways to say a tag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

__all__ = ["Annotated", "Corpus", "TagWords", "Template", "load_corpus", "without_words"]

_SLOT = re.compile(r"\{(\w+)\}")
_MARKED = re.compile(r"\[(?P<words>[^\]]+)\]\((?P<sign>[-+=])(?P<tag>[^)]+)\)")
_SLOTS = {
    "ask": {"tag"},
    "refuse": {"tag"},
    "release": {"tag"},
    "compound": {"yes", "no"},
    "two_asks": {"yes", "yes2"},
    "two_refusals": {"no", "no2"},
    "three": {"yes", "no", "no2"},
    "two_one": {"yes", "yes2", "no"},
    "four": {"yes", "yes2", "no", "no2"},
    "neutral": set(),
}
_REQUIRED = ("ask", "refuse", "compound", "neutral")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's takes a quarter of the time
_PHRASES = "text"  # the domain of what only an item's text can tell


@dataclass(frozen=True)
class Template:
    """One sentence with slots, and the idiom that it belongs to.

    A slot is named by its wish: ``tag``, ``yes``, ``no``, ``yes2``, ``no2``. It takes a noun phrase; written ``adj``,
    or with ``_adj`` behind its name, an adjective.
    """

    text: str
    family: str

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the wishes in the slots, in the order of the text."""
        return tuple(wish for wish, _ in self.forms)

    @property
    def forms(self) -> tuple[tuple[str, bool], ...]:
        """Each slot's wish, and whether it takes an adjective."""
        return tuple(slot_form(slot) for slot in _SLOT.findall(self.text))


def slot_form(slot: str) -> tuple[str, bool]:
    """A slot's wish, and whether it takes an adjective."""
    return ("tag", True) if slot == "adj" else (slot.removesuffix("_adj"), slot.endswith("_adj"))


@dataclass(frozen=True)
class TagWords:
    """How people name a tag, and whole sentences that mean it, or refuse it, without its name."""

    nouns: tuple[str, ...]
    adjectives: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()
    meanings_refuse: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotated:
    """A whole prompt, and ``(start, end, sign, tag)`` of its wishes.

    The sign "+" asks, "-" refuses, "=" leaves no wish; the tag is "" for content that no tag is about.
    """

    text: str
    wishes: tuple[tuple[int, int, str, str], ...]


@dataclass(frozen=True)
class Corpus:
    """One set of wording: ``templates[kind]``, ``words[tag name]``, ``domains[domain]``, its tags, and whole prompts.

    The kinds are ``ask``, ``refuse``, ``release`` (a tag is spoken of, and no wish about it is left), ``compound``,
    ``two_asks``, ``two_refusals``, ``three``, ``two_one``, ``four`` and ``neutral``; a kind without templates holds an
    empty tuple. Names of tags are kept in lower case in ``words`` and as written in ``domains``.
    """

    templates: Mapping[str, tuple[Template, ...]]
    words: Mapping[str, TagWords]
    domains: Mapping[str, tuple[str, ...]]
    annotated: tuple[Annotated, ...] = ()

    def words_for(self, tag: str) -> TagWords:
        """Words of a tag; for one that the corpus does not list, its name as it is and in lower case."""
        known = self.words.get(tag.casefold())
        return known or TagWords(tuple(dict.fromkeys([tag, tag.lower()])))


def load_corpus(name: str = "corpus") -> Corpus:
    """Read the wording that ships with the package.

    Parameters
    ----------
    name : {"corpus", "validation", "test"}
        Training wording; wording that chooses between settings; wording that no choice was made on.

    Raises
    ------
    ValueError
        If a template has other slots than its kind expects, or a mark in a whole prompt is torn; names file and line.
    """
    folder = files("dpr_train.prompts") / name
    templates = {}
    for kind, slots in _SLOTS.items():
        file = folder / f"{kind}.txt"
        if kind in _REQUIRED or file.is_file():
            templates[kind] = _read_templates(file, slots)
        else:
            templates[kind] = ()
    words: dict[str, TagWords] = {}
    domains: dict[str, tuple[str, ...]] = {}
    for domain, entries in _read_domains(folder).items():
        fresh = {tag: entry for tag, entry in entries.items() if tag.casefold() not in words}
        domains[domain] = tuple(fresh)
        words |= {tag.casefold(): entry for tag, entry in fresh.items()}
    file = folder / "annotated.txt"
    return Corpus(templates, words, domains, _read_annotated(file) if file.is_file() else ())


def _read_annotated(file: Traversable) -> tuple[Annotated, ...]:
    """Lines with ``[words](+Tag)`` where a wish is; ``(+text)`` where it is about no tag."""
    prompts = []
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        text, wishes, at = "", [], 0
        for match in _MARKED.finditer(line):
            text += line[at : match.start()]
            tag = "" if match["tag"] == "text" else match["tag"]
            wishes.append((len(text), len(text) + len(match["words"]), match["sign"], tag))
            text += match["words"]
            at = match.end()
        text += line[at:]
        if "[" in text or "]" in text:
            raise ValueError(
                f"{file.name} line {number}: expected [words](sign tag) at each wish, got {line}"
            )
        prompts.append(Annotated(text, tuple(wishes)))
    return tuple(prompts)


def _read_domains(folder: Traversable) -> dict[str, dict[str, TagWords]]:
    """Words by domain: one a ``*_words.yaml``, more in ``other_words.yaml``, phrases in ``text_phrases.txt``."""
    domains = {"genres": _read_words(_yaml(folder / "genre_words.yaml"))}
    for domain in ("beauty", "news"):
        if (file := folder / f"{domain}_words.yaml").is_file():
            domains[domain] = _read_words(_yaml(file))
    if (file := folder / "other_words.yaml").is_file():
        for domain, entries in _yaml(file).items():
            domains[domain] = domains.get(domain, {}) | _read_words(entries)
    if (file := folder / "text_phrases.txt").is_file():
        lines = [line.strip() for line in _text(file).splitlines()]
        domains[_PHRASES] = {line: TagWords((line,)) for line in lines if line and not line.startswith("#")}
    return domains


def _read_words(listed: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, TagWords]:
    return {str(tag): TagWords(**{k: tuple(v) for k, v in entry.items()}) for tag, entry in listed.items()}


def _yaml(file: Traversable) -> Any:
    return yaml.load(_text(file), Loader=_LOADER)  # noqa: S506 - both are safe loaders


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _read_templates(file: Traversable, slots: set[str]) -> tuple[Template, ...]:
    templates, family = [], ""
    for number, line in enumerate(_text(file).splitlines(), start=1):
        text = line.strip()
        if text.startswith("## family:"):
            family = text.removeprefix("## family:").strip()
        elif text and not text.startswith("# "):
            template = Template(text, family or text)
            if set(template.slots) != slots:
                expected = sorted(slots) or "none"
                raise ValueError(
                    f"{file.name} line {number}: slots expected {expected}, got {list(template.slots)}"
                )
            templates.append(template)
    return tuple(templates)


def without_words(corpus: Corpus, known: Corpus) -> Corpus:
    """The corpus with only those words that ``known`` does not use; a tag that none is left of keeps its own."""
    words = {}
    for tag, entry in corpus.words.items():
        other = known.words_for(tag)
        nouns, adjectives = (
            tuple(w for w in ours if w.casefold() not in {o.casefold() for o in theirs})
            for ours, theirs in ((entry.nouns, other.nouns), (entry.adjectives, other.adjectives))
        )
        words[tag] = replace(entry, nouns=nouns or entry.nouns, adjectives=adjectives)
    return replace(corpus, words=words)
