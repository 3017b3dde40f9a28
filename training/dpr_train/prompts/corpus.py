# Reads the wording: template files and the words of each tag. Knows nothing of tags' numbers or of labels.
"""The wording of prompts: templates by polarity, neutral sentences, and the ways to say a tag."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

__all__ = ["Corpus", "TagWords", "Template", "load_corpus", "split_families"]

_SLOT = re.compile(r"\{(\w+)\}")
_SLOTS = {
    "ask": {"tag"},
    "refuse": {"tag"},
    "compound": {"yes", "no"},
    "two_asks": {"yes", "yes2"},
    "two_refusals": {"no", "no2"},
    "three": {"yes", "no", "no2"},
    "neutral": set(),
}
_REQUIRED = ("ask", "refuse", "compound", "neutral")


@dataclass(frozen=True)
class Template:
    """One sentence with slots, and the idiom that it belongs to."""

    text: str
    family: str

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in the order of the text."""
        return tuple(_SLOT.findall(self.text))


@dataclass(frozen=True)
class TagWords:
    """How people name a tag, and whole sentences that mean it, or refuse it, without its name."""

    nouns: tuple[str, ...]
    meanings: tuple[str, ...] = ()
    meanings_refuse: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corpus:
    """Wording from one author: ``templates[kind]`` and ``words[tag name]``.

    The kinds are ``ask``, ``refuse``, ``compound``, ``two_asks``, ``two_refusals``, ``three`` and ``neutral``; a kind
    without templates holds an empty tuple.
    """

    templates: Mapping[str, tuple[Template, ...]]
    words: Mapping[str, TagWords]

    def words_for(self, tag: str) -> TagWords:
        """Words of a tag; for one that the corpus does not list, its name as it is and in lower case."""
        known = self.words.get(tag.casefold())
        return known or TagWords(tuple(dict.fromkeys([tag, tag.lower()])))


def load_corpus(name: str = "corpus") -> Corpus:
    """Read the wording that ships with the package.

    Parameters
    ----------
    name : {"corpus", "heldout"}
        Training wording, or the wording that no training reads.

    Raises
    ------
    ValueError
        If a template has other slots than its kind expects; names file and line.
    """
    folder = files("dpr_train.prompts") / name
    templates = {}
    for kind, slots in _SLOTS.items():
        file = folder / f"{kind}.txt"
        if kind in _REQUIRED or file.is_file():
            templates[kind] = _read_templates(file, slots)
        else:
            templates[kind] = ()
    listed = yaml.safe_load((folder / "genre_words.yaml").read_text(encoding="utf-8"))
    words = {
        tag.casefold(): TagWords(**{k: tuple(v) for k, v in entry.items()}) for tag, entry in listed.items()
    }
    return Corpus(templates, words)


def _read_templates(file: Traversable, slots: set[str]) -> tuple[Template, ...]:
    templates, family = [], ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
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


def split_families(corpus: Corpus, every: int) -> tuple[Corpus, Corpus]:
    """Divide a corpus by family of idiom: one family in ``every`` goes to the second part, in file order.

    Kinds without at least ``every`` families stay whole in the first part; the words of tags are shared.
    """
    kept: dict[str, tuple[Template, ...]] = {}
    held: dict[str, tuple[Template, ...]] = {}
    for kind, templates in corpus.templates.items():
        families: Sequence[str] = list(dict.fromkeys(t.family for t in templates))
        out = set(families[every - 1 :: every])
        kept[kind] = tuple(t for t in templates if t.family not in out)
        held[kind] = tuple(t for t in templates if t.family in out)
    return Corpus(kept, corpus.words), Corpus(held, corpus.words)
