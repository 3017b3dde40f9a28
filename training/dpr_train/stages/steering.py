# Stage 3. Backbone and prompt encoder are frozen; their answers are computed once and kept.
"""Stage 3: train Fusion, the experts and the tags' side vectors to steer the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.config import SteeringStage
from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.prompts import PromptGrammar
from dpr_train.sequences import IntArray
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr
from dpr_train.stages.user_states import UserStates, collect_user_states
from dpr_train.tasks import refused_tag, wanted_tag

__all__ = ["train_steering"]


def train_steering(
    model: DPR,
    tokenizer: Tokenizer,
    train: Sequence[IntArray],
    grammar: PromptGrammar,
    config: SteeringStage,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
) -> list[Metrics]:
    """Train in place; the last epoch's weights are kept.

    Parameters
    ----------
    model : DPR
        With a trained backbone and a trained prompt encoder.
    tokenizer : Tokenizer
        The prompt encoder's.
    train : sequence of int64 arrays
        Item rows of each user, without the validation and the test target.
    grammar : PromptGrammar
        Draws training prompts.
    config : SteeringStage
        Epochs and rates.
    seed : int
        Of the run.
    folder : Path
        Saved progress.
    progress : callable
        ``(stage, done, total, text)``, called while training.
    """
    trained = nn.ModuleDict({"fusion": model.fusion})
    trained.register_parameter("tag_vectors", model.tag_vectors)
    trained.register_parameter("biases", model.biases)
    model.requires_grad_(False)
    trained.requires_grad_(True)
    optimizer = adamw((trained.parameters(), config.lr))
    states = collect_user_states(model.backbone, train, model.tag_matrix.numpy() > 0)
    pool = PromptPool.draw(
        grammar,
        model.prompt_encoder,
        tokenizer,
        model.tag_embeddings,
        config.prompts,
        seed=seed,
        progress=progress,
    )
    chooser = _WishChooser(model.tag_matrix.numpy() > 0, pool)
    steps = -(-len(states) // config.batch_size)

    def run_epoch(epoch: int, rng: np.random.Generator) -> Metrics:
        order = rng.permutation(len(states))
        model.eval()  # neither dropout nor anything else differs here; the frozen parts must not
        sums: dict[str, float] = {}
        for step in range(steps):
            rows = order[step * config.batch_size : (step + 1) * config.batch_size]
            done = epoch * steps + step
            cosine_lr(optimizer, done, config.epochs * steps, warmup=max(1, steps // 4))
            losses = _losses(model, states, rows, pool, chooser, rng)
            loss = (
                losses["target"]
                + config.wanted_weight * losses["wanted"]
                + config.forbidden_weight * losses["forbidden"]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 5.0)
            optimizer.step()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            progress("steering", done + 1, config.epochs * steps, f"target {sums['target'] / (step + 1):.3f}")
        return {name: value / steps for name, value in sums.items()}

    return ResumableStage(folder, "steering", trained, optimizer, seed).run(config.epochs, run_epoch)


class _WishChooser:
    """Draws what each training example's prompt asks for and refuses: half as hard as the test, half at random."""

    def __init__(self, tag_matrix: np.ndarray, pool: PromptPool) -> None:
        self.tag_matrix = tag_matrix
        self.frequency = tag_matrix.sum(0, dtype=np.int64)
        self.pool = pool

    def __call__(self, target: int, counts: IntArray, rng: np.random.Generator) -> tuple[int, int]:
        """Tags asked for and refused, -1 for none."""
        tags = self.tag_matrix[target]
        kind, hard = rng.random(), rng.random() < 0.5
        wanted = self._wanted(tags, counts, hard, rng) if kind < 0.65 else -1
        refused = self._refused(tags, counts, hard, rng) if kind >= 0.35 else -1
        if wanted >= 0 and refused >= 0 and not self.pool.has(wanted, refused):
            refused = -1
        return wanted, refused

    def _wanted(self, tags: np.ndarray, counts: IntArray, hard: bool, rng: np.random.Generator) -> int:
        chosen = wanted_tag(tags, counts, self.frequency) if hard else None
        if chosen is None and tags.any():
            chosen = int(rng.choice(np.flatnonzero(tags)))
        return -1 if chosen is None else chosen

    def _refused(self, tags: np.ndarray, counts: IntArray, hard: bool, rng: np.random.Generator) -> int:
        chosen = refused_tag(tags, counts) if hard else None
        if chosen is None and not tags.all():
            chosen = int(rng.choice(np.flatnonzero(~tags)))
        return -1 if chosen is None else chosen


def _losses(
    model: DPR,
    states: UserStates,
    rows: IntArray,
    pool: PromptPool,
    chooser: _WishChooser,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Cross-entropy of the target, of the wanted tag's mass, and the mass left on what was refused."""
    targets = states.targets[rows]
    wishes = np.array([chooser(int(t), c, rng) for t, c in zip(targets, states.counts[rows], strict=True)])
    tokens, mask, wish = pool.batch([pool.pick(int(a), int(r), rng) for a, r in wishes])
    user = states.users[rows]
    experts, gates = model.fusion(user, tokens, mask, wish, model.tag_vectors)
    log_p = torch.log_softmax(model.score(user, experts, gates, model.item_vectors()), dim=1)  # (B, N)
    asked, refused = torch.from_numpy(wishes[:, 0]), torch.from_numpy(wishes[:, 1])
    zero = torch.zeros(())
    wanted_mass = (log_p.exp() * model.tag_matrix.T[asked.clamp(min=0)]).sum(1)[asked >= 0]
    forbidden_mass = (log_p.exp() * model.tag_matrix.T[refused.clamp(min=0)]).sum(1)[refused >= 0]
    return {
        "target": F.nll_loss(log_p, torch.from_numpy(targets)),
        "wanted": -(wanted_mass + 1e-8).log().mean() if len(wanted_mass) else zero,
        "forbidden": forbidden_mass.mean() if len(forbidden_mass) else zero,
    }
