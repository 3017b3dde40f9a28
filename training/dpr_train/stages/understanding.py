# Stage 2. Reads text alone: no interaction, no item.
"""Stage 2: teach the prompt encoder which tags a prompt asks for and refuses, on generated prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import UnderstandingStage
from dpr_train.progress import Progress
from dpr_train.prompt_encoder import PromptEncoder, pad_encodings, tokenize
from dpr_train.prompts import LabelledPrompt, PromptGrammar
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr, has_fast_bf16

__all__ = ["train_understanding", "understanding_metrics"]


def train_understanding(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    grammar: PromptGrammar,
    held_back: PromptGrammar,
    config: UnderstandingStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> list[Metrics]:
    """Train in place; the last step's weights are kept.

    Parameters
    ----------
    encoder : PromptEncoder
        With pretrained weights.
    tokenizer : Tokenizer
        The encoder's.
    grammar, held_back : PromptGrammar
        Draws training prompts; draws prompts of idioms kept out of training, for the metrics.
    config : UnderstandingStage
        Steps and rates.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``, called while training.
    """
    encoder.freeze_lower_layers()
    tuned = [p for p in encoder.encoder.parameters() if p.requires_grad]
    optimizer = adamw((tuned, config.lr_encoder), (encoder.head.parameters(), config.lr_head))
    stage = ResumableStage(folder, "understanding", encoder, optimizer, seed)
    chunks = -(-config.steps // config.checkpoint_every)
    bf16 = has_fast_bf16()

    def run_chunk(chunk: int, rng: np.random.Generator) -> Metrics:
        first = chunk * config.checkpoint_every
        last = min(config.steps, first + config.checkpoint_every)
        encoder.eval()  # no dropout: a generated prompt hardly ever comes twice, and dropout is a tenth of the time
        total = 0.0
        batches = _batches(grammar, tokenizer, rng, last - first, config.batch_size)
        for step, (encodings, prompts) in enumerate(batches, start=first):
            cosine_lr(optimizer, step, config.steps, warmup=max(1, config.steps // 20))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = _loss(encoder, tokenizer, grammar.tags, encodings, prompts)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
            progress("understanding", step + 1, config.steps, f"loss {total / (step + 1 - first):.3f}")
        metrics = {"loss": total / (last - first)}
        if last == config.steps:
            draw = np.random.default_rng(seed)
            metrics |= understanding_metrics(encoder, tokenizer, held_back, draw, prompts=600)
        return metrics

    return stage.run(chunks, run_chunk)


def _batches(
    grammar: PromptGrammar, tokenizer: Tokenizer, rng: np.random.Generator, steps: int, batch_size: int
) -> Iterator[tuple[list[Encoding], list[LabelledPrompt]]]:
    """Draw ``steps`` batches of prompts of like length: padding to the longest of a mixed batch triples the work."""
    while steps > 0:
        group = min(steps, 16)
        prompts = [grammar.draw(rng) for _ in range(group * batch_size)]
        encodings = tokenizer.encode_batch([p.text for p in prompts])
        by_length = sorted(range(len(prompts)), key=lambda i: len(encodings[i].ids))
        for batch in rng.permutation(group):
            rows = by_length[batch * batch_size : (batch + 1) * batch_size]
            yield [encodings[i] for i in rows], [prompts[i] for i in rows]
        steps -= group


def _loss(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    tags: Sequence[str],
    encodings: Sequence[Encoding],
    prompts: Sequence[LabelledPrompt],
) -> Tensor:
    """Presence of every tag, polarity of the present ones, and which tokens name which tag."""
    ids, mask = map(torch.from_numpy, pad_encodings(encodings))
    understanding = encoder.understand(ids, mask, encoder.embed_names(tokenizer, tags))
    asked, refused = _labels(prompts, len(tags))
    present = (asked + refused).clamp(max=1)
    presence = (
        F.binary_cross_entropy_with_logits(understanding.presence.float(), present, reduction="none")
        .sum(1)
        .mean()
    )
    # A tag both asked for and refused in one prompt has no polarity to learn.
    one_sided = asked != refused
    polarity = F.binary_cross_entropy_with_logits(understanding.polarity[one_sided].float(), asked[one_sided])
    named, known = _token_labels(encodings, prompts, len(tags), ids.shape[1])
    match = F.binary_cross_entropy_with_logits(
        understanding.match[known].float(), named[known], reduction="sum"
    )
    return presence + polarity + 0.5 * match / len(prompts)


def _labels(prompts: Sequence[LabelledPrompt], n_tags: int) -> tuple[Tensor, Tensor]:
    asked, refused = torch.zeros(2, len(prompts), n_tags)
    for row, prompt in enumerate(prompts):
        asked[row, list(prompt.asked)] = 1
        refused[row, list(prompt.refused)] = 1
    return asked, refused


def _token_labels(
    encodings: Sequence[Encoding], prompts: Sequence[LabelledPrompt], n_tags: int, length: int
) -> tuple[Tensor, Tensor]:
    """Which token names which tag, float32 (B, G, T), and where that is known, bool (B, G, T)."""
    named = torch.zeros(len(prompts), n_tags, length)
    known = torch.zeros(len(prompts), n_tags, length, dtype=torch.bool)
    for row, (encoding, prompt) in enumerate(zip(encodings, prompts, strict=True)):
        known[row, :, : len(encoding.ids)] = True
        spelled = {tag for _, _, tag in prompt.spans}
        meant = [tag for tag in (*prompt.asked, *prompt.refused) if tag not in spelled]
        known[row, meant] = False  # some tokens carry the meaning; nobody says which
        for start, end, tag in prompt.spans:
            inside = [t for t, (a, b) in enumerate(encoding.offsets) if a < end and b > start]
            named[row, tag, inside] = 1
    return named, known


@torch.no_grad()
def understanding_metrics(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    grammar: PromptGrammar,
    rng: np.random.Generator,
    *,
    prompts: int,
) -> Metrics:
    """How well single wishes, compounds and neutral prompts of a grammar are understood.

    Returns
    -------
    dict
        ``ask`` and ``refuse``: share of prompts in which exactly their wish, and no other, reaches one half;
        ``compound``: the same for two wishes; ``neutral``: share in which no wish reaches one half.
    """
    encoder.eval()
    names = encoder.embed_names(tokenizer, grammar.tags)
    kinds = {
        "ask": lambda: grammar.single(rng, int(rng.integers(len(grammar.tags))), refuse=False),
        "refuse": lambda: grammar.single(rng, int(rng.integers(len(grammar.tags))), refuse=True),
        "neutral": lambda: grammar.neutral(rng),
    }
    if len(grammar.tags) > 1:
        kinds["compound"] = lambda: grammar.compound(
            rng, *([int(t)] for t in rng.choice(len(grammar.tags), 2, replace=False))
        )
    metrics = {}
    for kind, draw in kinds.items():
        drawn = [draw() for _ in range(prompts // len(kinds))]
        right = 0
        for start in range(0, len(drawn), 128):
            part = drawn[start : start + 128]
            ids, mask = map(torch.from_numpy, tokenize(tokenizer, [p.text for p in part]))
            wish = encoder.understand(ids, mask, names).wish
            right += sum(_understood(w, p) for w, p in zip(wish, part, strict=True))
        metrics[kind] = right / len(drawn)
    return metrics


def _understood(wish: Tensor, prompt: LabelledPrompt) -> bool:
    """Whether exactly the prompt's wishes, and no other, reach one half."""
    asked = set(torch.nonzero(wish[:, 0] >= 0.5)[:, 0].tolist())
    refused = set(torch.nonzero(wish[:, 1] >= 0.5)[:, 0].tolist())
    return asked == set(prompt.asked) and refused == set(prompt.refused)
