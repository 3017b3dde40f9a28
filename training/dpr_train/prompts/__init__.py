"""Prompts: their wording, and a grammar that composes them with labels."""

from dpr_train.prompts.corpus import Corpus, TagWords, Template, load_corpus, without_words
from dpr_train.prompts.grammar import LabelledPrompt, PromptGrammar, Role, Span

__all__ = [
    "Corpus",
    "LabelledPrompt",
    "PromptGrammar",
    "Role",
    "Span",
    "TagWords",
    "Template",
    "load_corpus",
    "without_words",
]
