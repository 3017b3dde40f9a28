# Stage 3. Backbone and prompt encoder are frozen; their answers are computed once and kept.
"""Stage 3: train Fusion, the experts and the tags' side vectors to steer the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpr_train.config import SteeringStage
from dpr_train.model import DPR
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray
from dpr_train.stages.prompt_pool import PromptPool
from dpr_train.stages.resumable import Metrics, ResumableStage, adamw, cosine_lr
from dpr_train.stages.user_states import UserStates, collect_user_states

__all__ = ["train_steering"]

BoolArray = npt.NDArray[np.bool_]
_CANDIDATES = 48  # training positions looked at for each prompt
_FEW, _HABIT = 1, 3  # a wish is hard if at most so many of the last items have the tag asked for, or so many the one refused


def train_steering(
    model: DPR,
    train: Sequence[IntArray],
    pool: PromptPool,
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
    train : sequence of int64 arrays
        Item rows of each user, without the validation and the test target.
    pool : PromptPool
        Training prompts.
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
    trained.register_parameter("tag_parts", model.tag_parts)
    trained.register_parameter("biases", model.biases)
    model.requires_grad_(False)
    trained.requires_grad_(True)
    model.fusion.reader.requires_grad_(False)  # it knows wished tokens from stage 2
    optimizer = adamw((trained.parameters(), config.lr))
    states = collect_user_states(model.backbone, train, model.tag_matrix.numpy() > 0)
    pairs = _Pairing(states, pool)
    steps = -(-len(states) // config.batch_size)

    def run_epoch(epoch: int, rng: np.random.Generator) -> Metrics:
        model.eval()  # neither dropout nor anything else differs here; the frozen parts must not
        sums: dict[str, float] = {}
        for step in range(steps):
            done = epoch * steps + step
            cosine_lr(optimizer, done, config.epochs * steps, warmup=max(1, steps // 4))
            losses = _losses(model, states, pool, *pairs.draw(config.batch_size, rng))
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


class _Pairing:
    """Pairs prompts with training positions whose target obeys them, half of them as hard as can be found."""

    def __init__(self, states: UserStates, pool: PromptPool) -> None:
        self.states = states
        self.pool = pool
        self.usable = np.flatnonzero(pool.allowed[:, np.unique(states.targets)].any(1))

    def draw(self, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Rows of the pool and of the states, int64 (at most ``size``,) each."""
        prompts = rng.choice(self.usable, size)
        found = rng.integers(len(self.states), size=(size, _CANDIDATES))
        obeys = self.pool.allowed[prompts[:, None], self.states.targets[found]]  # (size, candidates)
        value = rng.random(found.shape) + obeys * 100
        hard = rng.random(size) < 0.5
        value += hard[:, None] * self._hardness(prompts, found)
        best = value.argmax(1)
        kept = obeys[np.arange(size), best]  # a prompt that hardly any position obeys may find none
        return prompts[kept], found[np.arange(size), best][kept]

    def _hardness(self, prompts: IntArray, found: IntArray) -> npt.NDArray[np.float64]:
        """How many wishes of each prompt go against each position's habit, float64 (size, candidates)."""
        counts = self.states.counts[found]  # (size, candidates, G)
        asked, refused = self.pool.asked[prompts][:, None], self.pool.refused[prompts][:, None]
        against = ((counts <= _FEW) & asked) | ((counts >= _HABIT) & refused)
        return against.sum(-1).astype(np.float64)


def _losses(
    model: DPR, states: UserStates, pool: PromptPool, prompts: IntArray, rows: IntArray
) -> dict[str, Tensor]:
    """Cross-entropy of the target, of the mass on what was asked for, and the mass left on what was refused."""
    tokens, mask, wish = pool.batch(prompts)
    user = states.users[rows]
    experts, gates = model.fusion(user, tokens, mask, wish, model.tag_vectors)
    log_p = torch.log_softmax(model.score(user, experts, gates, model.item_vectors()), dim=1)  # (B, N)
    p = log_p.exp()
    asked, refused = (torch.from_numpy(x[prompts]).float() for x in (pool.asked, pool.refused))  # (B, G)
    has = model.tag_matrix  # (N, G)
    all_asked = (asked @ (1 - has).T == 0).float()  # (B, N)
    any_refused = (refused @ has.T > 0).float()
    wanted_mass = (p * all_asked).sum(1)[asked.any(1)]
    forbidden_mass = (p * any_refused).sum(1)[refused.any(1)]
    zero = torch.zeros(())
    return {
        "target": F.nll_loss(log_p, torch.from_numpy(states.targets[rows])),
        "wanted": -(wanted_mass + 1e-8).log().mean() if len(wanted_mass) else zero,
        "forbidden": forbidden_mass.mean() if len(forbidden_mass) else zero,
    }
