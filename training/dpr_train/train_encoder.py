# Stage 2 by itself: from a pretrained sentence encoder and the wording to a prompt encoder for any catalogue.
"""Train a prompt encoder that reads wishes about tags by their names; needs no items and no interactions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import PromptEncoderConfig, UnderstandingStage
from dpr_train.data import file_sha256
from dpr_train.devices import choose_device
from dpr_train.evaluate.understood import by_wishes, reading_metrics, understand_all, understanding_metrics
from dpr_train.item_texts import TextEmbedder
from dpr_train.progress import Progress, silent
from dpr_train.prompt_encoder import PromptEncoder, build_prompt_encoder, load_tokenizer, save_prompt_encoder
from dpr_train.prompts import Corpus, PromptGrammar, load_corpus
from dpr_train.prompts.universe import TagUniverse, make_universe
from dpr_train.run_folder import claim_progress
from dpr_train.stages.resumable import Metrics
from dpr_train.stages.teacher import Teacher
from dpr_train.stages.understanding import train_understanding
from dpr_train.weight_codes import round_embeddings

__all__ = ["choose_lift", "fit_prompt_encoder", "measure_on_validation", "record_of", "train_prompt_encoder"]

_MEASURED = 300  # prompts of each kind in the metrics on validation wording
_UNSEEN = 40  # tags among which zero-shot understanding is measured
_LIFTS = (-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, 0.0)
_RIGHT = ("ask", "refuse", "compound", "neutral", "none")


def train_prompt_encoder(
    base_folder: Path,
    out: Path,
    config: PromptEncoderConfig,
    stage: UnderstandingStage,
    *,
    seed: int,
    threads: int,
    device: str = "cpu",
    workers: int = 0,
    start: Path | None = None,
    progress: Progress = silent,
    report: Callable[[str, dict[str, float]], None] = lambda *_: None,
) -> None:
    """Train from ``base_folder`` and write a folder that :func:`build_prompt_encoder` opens; resumes what it began.

    A folder that holds the progress of another run is refused.

    Parameters
    ----------
    base_folder : Path
        Hugging Face folder of all-MiniLM-L6-v2.
    out : Path
        Folder to write; progress is kept in its subfolder ``stages``.
    config, stage : PromptEncoderConfig, UnderstandingStage
        Settings.
    seed, threads : int
        Of the run.
    device : {"cpu", "cuda"}
        Where it computes.
    workers : int
        Processes that draw prompts beside this one; the result does not depend on it.
    start : Path, optional
        Folder of a trained prompt encoder to go on from.
    progress, report : callable
        As in :func:`dpr_train.run.train`.
    """
    chosen = choose_device(device)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    encoder = build_prompt_encoder(config, start or base_folder)
    round_embeddings(encoder)
    tokenizer = load_tokenizer(base_folder, config.max_tokens)
    identity = {
        "start": file_sha256((start or base_folder) / "model.safetensors"),
        "seed": seed,
        "threads": threads,
        "device": device,
        "prompt_encoder": config.model_dump(mode="json"),
        "stage2": stage.model_dump(mode="json"),
    }
    claim_progress(out / "stages", identity)
    log = fit_prompt_encoder(
        encoder.to(chosen),
        tokenizer,
        TextEmbedder(base_folder, device=chosen),
        stage,
        seed=seed,
        folder=out / "stages",
        progress=progress,
        workers=workers,
    )
    report("understanding", log[-1])
    record = {
        "base": config.base,
        "began": record_of(start) if start else None,
        "seed": seed,
        "threads": threads,
        "device": device,
        "config": {"prompt_encoder": config.model_dump(), "stage2": stage.model_dump()},
        "metrics": log,
        "licence": "Apache-2.0; derived from all-MiniLM-L6-v2 (Apache-2.0)",
        "versions": {"dpr-infer": version("dpr-infer"), "torch": torch.__version__},
    }
    save_prompt_encoder(out, encoder.cpu(), base_folder / "tokenizer.json", record)


def record_of(folder: Path) -> dict[str, Any] | None:
    """What a folder of a prompt encoder says of its training; None if it says nothing."""
    path = folder / "training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def fit_prompt_encoder(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    embed: TextEmbedder | None,
    stage: UnderstandingStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress = silent,
    catalogue: Sequence[str] = (),
    teacher: Teacher | None = None,
    workers: int = 0,
) -> list[Metrics]:
    """Train a prompt encoder in place on all the training wording.

    Parameters
    ----------
    encoder, tokenizer
        What to train.
    embed : TextEmbedder or None
        Gives what tags mean in the space of items' texts; not needed with a teacher, who knows.
    stage : UnderstandingStage
        Settings.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``.
    catalogue : sequence of str
        Tags of a catalogue, to be learned beside those of the wording.
    teacher : Teacher, optional
        A trained prompt encoder to imitate as well.
    workers : int
        As in :func:`train_prompt_encoder`.

    Returns
    -------
    list of dict
        Metrics of every chunk of steps; some with those on validation wording.
    """
    corpus = load_corpus()
    universe = make_universe(corpus, catalogue, stage.domains)
    grammar = universe.grammar(corpus)
    wordings = _validation(corpus, universe)
    contents = None if embed is None else _contents(grammar, embed, progress)
    log = train_understanding(
        encoder,
        tokenizer,
        universe,
        grammar,
        contents,
        stage,
        seed=seed,
        folder=folder,
        progress=progress,
        measure=lambda: _measure(encoder, tokenizer, wordings, _MEASURED),
        teacher=teacher,
        workers=workers,
    )
    lift = choose_lift(encoder, tokenizer, wordings)
    return [*log, log[-1] | {"lift_above": lift} | _measure(encoder, tokenizer, wordings, _MEASURED)]


def measure_on_validation(
    encoder: PromptEncoder, tokenizer: Tokenizer, domains: Sequence[str] | None = None
) -> Metrics:
    """Metrics of a trained prompt encoder on validation wording, as :func:`fit_prompt_encoder` takes them.

    Parameters
    ----------
    encoder, tokenizer
        What to measure.
    domains : sequence of str, optional
        As in :class:`dpr_train.config.UnderstandingStage`.
    """
    corpus = load_corpus()
    return _measure(encoder, tokenizer, _validation(corpus, make_universe(corpus, (), domains)), _MEASURED)


def _contents(grammar: PromptGrammar, embed: TextEmbedder, progress: Progress) -> Tensor:
    """What each tag means: the mean embedding of its words, float32 (G, p), unit length."""
    nouns = [noun for words in grammar.words for noun in words.nouns]
    embedded = embed(nouns, batch_size=256, progress=progress)
    parts = embedded.split([len(words.nouns) for words in grammar.words])
    return torch.stack([F.normalize(part.mean(0), dim=0) for part in parts])


@dataclass(frozen=True)
class _Wording:
    """Draws prompts; ``meaning`` is the share that names no tag. With ``none_of``, none of those tags is to be read.

    With ``whole``, the prompts are those that were written whole, and nothing is drawn.
    """

    grammar: PromptGrammar
    meaning: float = 0.0
    none_of: Sequence[str] = ()
    whole: bool = False


_Wordings = dict[str, _Wording]


def _validation(corpus: Corpus, universe: TagUniverse) -> _Wordings:
    """Validation wording: templates with known words and with its own, tags never trained on, whole prompts, texts."""
    validation = load_corpus("validation")
    genres = [universe.tags[tag] for tag in universe.always]
    unseen = [tag for tags in universe.held_back.values() for tag in tags][:_UNSEEN]
    phrases = PromptGrammar(validation, corpus.domains["text"], words=corpus)
    own_words = PromptGrammar(validation, genres)
    wordings = {
        "templates": _Wording(PromptGrammar(validation, genres, words=corpus)),
        "words": _Wording(own_words, meaning=0.25),
        "tags": _Wording(PromptGrammar(validation, unseen, words=corpus)),
        "whole": _Wording(own_words, whole=True),
        "text": _Wording(phrases, none_of=corpus.domains["genres"]),
    }
    return {name: wording for name, wording in wordings.items() if wording.grammar.tags}


def _measure(encoder: PromptEncoder, tokenizer: Tokenizer, wordings: _Wordings, prompts: int) -> Metrics:
    metrics: Metrics = {}
    for name, wording in wordings.items():
        rng = np.random.default_rng(0)
        if wording.none_of:
            found = {"none": _share_of_none(encoder, tokenizer, wording, rng, prompts)}
        elif wording.whole:
            found = reading_metrics(
                encoder, tokenizer, wording.grammar.tags, by_wishes(wording.grammar.annotated)
            )
        else:
            found = understanding_metrics(
                encoder, tokenizer, wording.grammar, rng, prompts=prompts, meaning=wording.meaning
            )
        metrics |= {f"{name}_{kind}": value for kind, value in found.items()}
    return metrics


def _share_of_none(
    encoder: PromptEncoder, tokenizer: Tokenizer, wording: _Wording, rng: np.random.Generator, prompts: int
) -> float:
    """Share of prompts about what only texts can answer in which no tag is read."""
    phrases = wording.grammar
    chosen = rng.integers(len(phrases.tags), size=prompts)
    drawn = [phrases.single(rng, int(tag), refuse=bool(rng.integers(2))) for tag in chosen]
    read = understand_all(encoder, tokenizer, wording.none_of, drawn)
    return sum(not u.asked and not u.refused for u in read) / len(read)


@torch.no_grad()
def choose_lift(encoder: PromptEncoder, tokenizer: Tokenizer, wordings: _Wordings) -> float:
    """Set the match above which a wish that names no known tag is read as the nearest one; returns it.

    Chosen so that most validation prompts are understood, those among them that are about no tag at all.
    """
    found = []
    for above in _LIFTS:
        encoder.head.lift_above.fill_(above)
        metrics = _measure(encoder, tokenizer, wordings, _MEASURED // 2)
        right = [value for name, value in metrics.items() if name.split("_")[1] in _RIGHT]
        found.append((sum(right) / len(right), above))
    encoder.head.lift_above.fill_(max(found)[1])
    return max(found)[1]
