# Stage 2. Reads text alone: no interaction, no item.
"""Stage 2: teach the prompt encoder which tags a prompt asks for and refuses, on generated prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from dpr_train.config import UnderstandingStage
from dpr_train.devices import device_of, has_fast_bf16, tensors_on
from dpr_train.progress import Progress
from dpr_train.prompt_encoder import PromptEncoder
from dpr_train.prompts import PromptGrammar
from dpr_train.prompts.universe import TagUniverse
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr
from dpr_train.stages.teacher import Teacher, embed_names
from dpr_train.stages.understanding_batches import Batch, BatchDrawer, BatchSource
from dpr_train.understanding import NO_WISH

__all__ = ["train_understanding"]

_OWN_NAME = 0.75  # how often a tag goes by its own name rather than by a word that people use for it
_TOLD = 10  # steps after which the loss is told anew


def train_understanding(
    encoder: PromptEncoder,
    tokenizer: Tokenizer,
    universe: TagUniverse,
    grammar: PromptGrammar,
    contents: Tensor | None,
    config: UnderstandingStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
    measure: Callable[[], Metrics] = dict,
    teacher: Teacher | None = None,
    workers: int = 0,
) -> list[Metrics]:
    """Train in place; the last step's weights are kept.

    Parameters
    ----------
    encoder : PromptEncoder
        With pretrained weights.
    tokenizer : Tokenizer
        The encoder's.
    universe : TagUniverse
        The tags.
    grammar : PromptGrammar
        Draws training prompts about them.
    contents : Tensor or None
        float32 (G, p), unit length: what each tag means in the space of items' texts. A teacher knows it, too.
    config : UnderstandingStage
        Steps and rates.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``, called while training.
    measure : callable
        Metrics on wording kept out of training; called now and then, and at the end.
    teacher : Teacher, optional
        A trained prompt encoder to imitate as well.
    workers : int
        Processes that draw prompts beside this one; the result does not depend on it.
    """
    if contents is None and teacher is None:
        raise ValueError("contents: expected those of the tags, or a teacher that knows them, got neither")
    encoder.freeze_lower_layers()
    # The fused attention's backward pass takes two fifths of a step on a CPU; the plain one next to nothing.
    encoder.encoder.set_attn_implementation("eager")  # type: ignore[operator]
    tuned = [p for p in encoder.encoder.parameters() if p.requires_grad]
    optimizer = adamw((tuned, config.lr_encoder), (encoder.head.parameters(), config.lr_head))
    stage = ResumableStage(folder, "understanding", encoder, optimizer, seed)
    chunks = -(-config.steps // config.checkpoint_every)
    device = device_of(encoder)
    bf16 = has_fast_bf16(device)
    contents = None if contents is None else contents.to(device)
    hide = _WordMask(tokenizer, config.masked_words)
    _set_dropout(encoder, config.dropout)

    def run_chunk(chunk: int, rng: np.random.Generator) -> Metrics:
        first = chunk * config.checkpoint_every
        last = min(config.steps, first + config.checkpoint_every)
        encoder.eval()
        called = _some_names(grammar, rng)
        names = embed_names(encoder, tokenizer, called, bf16=bf16)
        if teacher is not None:
            teacher.read_names(called, bf16=bf16)
        encoder.train()
        sums: dict[str, Tensor] = {}
        mean = 0.0
        for step, batch in enumerate(source.batches(rng, last - first), start=first):
            cosine_lr(optimizer, step, config.steps, warmup=max(1, config.steps // 20))
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                losses = _losses(encoder, names, contents, batch, hide, teacher)
                loss = torch.stack(list(losses.values())).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
            if (step - first) % _TOLD == 0:  # reading a loss waits for the device
                mean = sum(value.item() for value in sums.values()) / (step + 1 - first)
            progress("understanding", step + 1, config.steps, f"loss {mean:.3f}")
        metrics = {name: value.item() / (last - first) for name, value in sums.items()}
        if last == config.steps or (chunk + 1) % config.evaluate_every == 0:
            metrics |= measure()
        return metrics

    drawer = BatchDrawer(grammar, tokenizer, universe.always, config.batch_size)
    with BatchSource(drawer, workers) as source:
        log = stage.run(chunks, run_chunk)
    encoder.encoder.set_attn_implementation("sdpa")  # type: ignore[operator]
    encoder.eval()
    return log


def _some_names(grammar: PromptGrammar, rng: np.random.Generator) -> list[str]:
    """A name for every tag: its own, or one of its words, so that matching is about meaning.

    Chosen and embedded once a chunk of steps: names are a third of the text that a step would read.
    """
    return [
        tag if rng.random() < _OWN_NAME else words.nouns[int(rng.integers(len(words.nouns)))]
        for tag, words in zip(grammar.tags, grammar.words, strict=True)
    ]


def _losses(
    encoder: PromptEncoder,
    names: Tensor,
    contents: Tensor | None,
    batch: Batch,
    hide: _WordMask,
    teacher: Teacher | None,
) -> dict[str, Tensor]:
    """Presence of every candidate tag, polarity of the present ones, class and tag of every token, and contents."""
    ids, mask, classes, tags = tensors_on(names.device, batch.ids, batch.mask, batch.classes, batch.tags)
    said, named, known = tensors_on(names.device, batch.said, batch.named, batch.known)
    ids = hide(ids, classes)
    tokens = encoder.tokens(ids, mask)
    understood = encoder.head(tokens, mask, names[tags])
    present = said.any(-1).float()  # (B, G)
    presence = F.binary_cross_entropy_with_logits(understood.presence.float(), present, reduction="none")
    probability = understood.polarity.float().clamp(min=1e-6)
    polarity = -(said * probability.log()).sum(-1)
    match = F.binary_cross_entropy_with_logits(understood.match.float(), named.float(), reduction="none")
    losses = {
        "presence": presence.sum(1).mean(),
        "polarity": polarity.sum() / present.sum().clamp(min=1),
        "class": 2
        * F.cross_entropy(understood.roles.float().flatten(0, 1), classes.flatten(), ignore_index=-1),
        "match": 0.3 * (match * known).sum() / len(ids),
    }
    if contents is not None:
        losses["content"] = _content_loss(encoder, tokens, mask, contents[tags], batch)
    if teacher is not None:
        losses |= teacher.losses(encoder, ids, mask, tokens, understood, batch.tags.tolist())
    return losses


class _WordMask:
    """Hides a share of the tokens that carry no wish: a polarity must not hang on one word of a template."""

    def __init__(self, tokenizer: Tokenizer, share: float) -> None:
        token = tokenizer.token_to_id("[MASK]")
        if token is None:
            raise ValueError("tokenizer: expected a token [MASK], got none")
        self.token = token
        self.special = [tokenizer.token_to_id(name) or 0 for name in ("[CLS]", "[SEP]")]
        self.share = share

    def __call__(self, ids: Tensor, classes: Tensor) -> Tensor:
        hidden = (torch.rand(ids.shape, device=ids.device) < self.share) & (classes == NO_WISH)
        for special in self.special:
            hidden &= ids != special
        return ids.masked_fill(hidden, self.token)


def _set_dropout(encoder: PromptEncoder, share: float) -> None:
    """Dropout after each layer's products; that of the attention's weights is slow and of no use here."""
    for module in encoder.encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
    for layer in encoder.encoder.encoder.layer:  # type: ignore[union-attr]
        layer.attention.self.dropout.p = 0.0


def _content_loss(
    encoder: PromptEncoder, tokens: Tensor, mask: Tensor, contents: Tensor, batch: Batch
) -> Tensor:
    """How far the contents read off the tokens are from what the wishes mean: cosine, and contrast within the batch.

    ``contents`` are those of the batch's tags, float32 (G, p).

    References
    ----------
    van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv 1807.03748: the contrast.
    """
    if not len(batch.content_rows):
        return tokens.new_zeros(())
    rows, roles, shares = tensors_on(
        tokens.device, batch.content_rows, batch.content_roles, batch.content_tags
    )
    every, _ = encoder.head.reader(tokens, mask)  # (B, 2, p)
    read, wanted = every[rows, roles].float(), F.normalize((shares @ contents).float(), dim=-1)
    similarity = read @ wanted.T
    contrast = F.cross_entropy(similarity / 0.05, torch.arange(len(rows), device=rows.device))
    return (1 - similarity.diagonal()).mean() + 0.2 * contrast
