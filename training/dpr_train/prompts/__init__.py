"""Prompts: their wording, and a grammar that composes them with labels."""

from dpr_train.prompts.corpus import Corpus, TagWords, Template, load_corpus, split_families
from dpr_train.prompts.grammar import LabelledPrompt, PromptGrammar, Span

__all__ = [
    "Corpus",
    "LabelledPrompt",
    "PromptGrammar",
    "Span",
    "TagWords",
    "Template",
    "load_corpus",
    "split_families",
]
