# All tags that the wording knows, as one list: what the prompt encoder learns from. No catalogue is involved.
"""The universe of tags that stage 2 trains on, and the grammar that draws from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpr_train.prompts.corpus import Corpus
from dpr_train.prompts.grammar import PromptGrammar

__all__ = ["TagUniverse", "make_universe"]

# How often each domain is drawn; what is left is shared by all others alike.
_SHARES = {"genres": 0.45, "beauty": 0.08, "news": 0.07, "text": 0.12}
_CATALOGUE, _CATALOGUE_SHARE = "catalogue", 0.3  # beside all domains together
_HELD_BACK = 10  # of the other domains' tags every tenth stays out: zero-shot understanding is measured on it


@dataclass(frozen=True)
class TagUniverse:
    """Tags of all domains.

    Parameters
    ----------
    tags : tuple of str
        Names; a tag's position is its number.
    groups : dict of str to (float, tuple of int)
        Share and members of each domain.
    always : tuple of int
        Tags that every training prompt is compared with, wished or not: those whose words are known best.
    held_back : dict of str to tuple of str
        By domain, names of tags that training never sees.
    """

    tags: tuple[str, ...]
    groups: dict[str, tuple[float, tuple[int, ...]]]
    always: tuple[int, ...]
    held_back: dict[str, tuple[str, ...]]

    def grammar(self, corpus: Corpus) -> PromptGrammar:
        """Draws prompts about these tags in the wording of ``corpus``."""
        return PromptGrammar(corpus, self.tags, groups=self.groups)


def make_universe(
    corpus: Corpus, catalogue: Sequence[str] = (), domains: Sequence[str] | None = None
) -> TagUniverse:
    """Number the tags of a corpus, domain by domain, and those of a catalogue that are not among them.

    Parameters
    ----------
    corpus : Corpus
        The wording.
    catalogue : sequence of str
        Tags of a catalogue.
    domains : sequence of str, optional
        Domains of the corpus to use; all by default.
    """
    wanted = {tag.casefold() for tag in catalogue}
    used = [d for d in corpus.domains if domains is None or d in domains]
    others = [d for d in used if d not in _SHARES]
    known = sum(_SHARES[d] for d in used if d in _SHARES)
    tags: list[str] = []
    groups: dict[str, tuple[float, tuple[int, ...]]] = {}
    held_back: dict[str, tuple[str, ...]] = {}
    for domain in used:
        names = corpus.domains[domain]
        kept = list(names)
        if domain in others:
            every = names[_HELD_BACK - 1 :: _HELD_BACK]
            held_back[domain] = tuple(name for name in every if name.casefold() not in wanted)
            kept = [name for name in names if name not in held_back[domain]]
        share = _SHARES[domain] if domain in _SHARES else (1 - known) / len(others)
        groups[domain] = (share, tuple(range(len(tags), len(tags) + len(kept))))
        tags += kept
    known_names = {tag.casefold() for tag in tags}
    if own := [tag for tag in dict.fromkeys(catalogue) if tag.casefold() not in known_names]:
        groups[_CATALOGUE] = (_CATALOGUE_SHARE, tuple(range(len(tags), len(tags) + len(own))))
        tags += own
    best_known = "genres" if "genres" in groups else _CATALOGUE
    return TagUniverse(tuple(tags), groups, groups[best_known][1], held_back)
