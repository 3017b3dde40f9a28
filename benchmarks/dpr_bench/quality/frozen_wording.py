# Reads the frozen test wording that is more than templates, and makes sure that nobody has touched it.
"""The test's own files: checksums, zero-shot tags, wishes about texts, conversations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

import yaml

from dpr_train.prompts import Corpus, PromptGrammar, TagWords, load_corpus

__all__ = ["Conversation", "TextWish", "conversations", "text_wishes", "verified_checksums", "zero_shot"]

_FOLDER = files("dpr_train.prompts") / "test"


@dataclass(frozen=True)
class TextWish:
    """A wish that only an item's text can tell about; ``about`` is a regular expression, ``genre`` may be empty."""

    section: str
    prompt: str
    polarity: Literal["ask", "refuse"]
    about: str
    genre: str


@dataclass(frozen=True)
class Conversation:
    """Turns of one user, and the tags that stand asked for and refused after the last."""

    kind: str
    turns: tuple[str, ...]
    asked: frozenset[str]
    refused: frozenset[str]


def verified_checksums() -> dict[str, str]:
    """Checksum of every file of the test wording.

    Raises
    ------
    ValueError
        If a file is not the one that was frozen; names it.
    """
    listed = {}
    for line in (_FOLDER / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        expected, name = line.split()
        got = hashlib.sha256((_FOLDER / name).read_bytes()).hexdigest()
        if got != expected:
            raise ValueError(f"test wording {name}: expected the frozen file {expected}, got {got}")
        listed[name] = got
    return listed


def zero_shot() -> dict[str, PromptGrammar]:
    """By domain, a grammar of the test templates about tags that training never named."""
    templates = load_corpus("test").templates
    grammars = {}
    for domain, tags in yaml.safe_load(_text("zero_shot.yaml")).items():
        words = {
            str(tag).casefold(): TagWords(tuple(said["nouns"]), tuple(said.get("adjectives", ())))
            for tag, said in tags.items()
        }
        corpus = Corpus(templates, words, {domain: tuple(map(str, tags))})
        grammars[domain] = PromptGrammar(corpus, tuple(map(str, tags)))
    return grammars


def text_wishes() -> list[TextWish]:
    """The wishes about texts, in order."""
    return [
        TextWish(section, entry["prompt"], entry["polarity"], entry["about"], entry.get("genre", ""))
        for section, entry in _entries("text_wishes.yaml")
    ]


def conversations() -> list[Conversation]:
    """The conversations, in order."""
    return [
        Conversation(kind, tuple(entry["turns"]), frozenset(entry["asked"]), frozenset(entry["refused"]))
        for kind, entry in _entries("turns.yaml")
    ]


def _entries(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries of a list, one a line, each with the comment above its part."""
    part = ""
    for line in _text(name).splitlines():
        if line.startswith("#"):
            part = line.lstrip("# ")
        elif line.strip():
            (entry,) = yaml.safe_load(line)
            yield part, entry


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
