# Epoch loop of every stage: seeds each epoch by itself and saves after it, so that an interrupted run ends
# with the same weights as one that was never stopped. Files are safetensors, with JSON in their metadata.
"""Run a training stage epoch by epoch, saving enough to continue bit for bit."""

from __future__ import annotations

import json
import random
import shutil
import zlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dpr_train.stages.average import WeightAverage

__all__ = ["ResumableStage", "adamw", "cosine_lr", "seed_everything"]

Metrics = dict[str, float]


def seed_everything(seed: int, stage: str, epoch: int) -> np.random.Generator:
    """Seed Python, NumPy and torch for one epoch of one stage, and return a NumPy generator of the same seed."""
    mixed = zlib.crc32(f"{seed}/{stage}/{epoch}".encode())
    random.seed(mixed)
    torch.manual_seed(mixed)
    return np.random.default_rng(mixed)


def adamw(*groups: tuple[Iterable[nn.Parameter], float], weight_decay: float = 0.01) -> torch.optim.AdamW:
    """Make the optimizer of a stage.

    Parameters
    ----------
    groups : (parameters, float)
        Parameters and the rate that :func:`cosine_lr` starts from.
    weight_decay : float
        Decoupled, for all groups.

    References
    ----------
    Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """
    listed = [{"params": list(parameters), "lr": lr, "base_lr": lr} for parameters, lr in groups]
    # One pass over each tensor: on the prompt encoder a step takes a quarter less time than with separate operations.
    return torch.optim.AdamW(listed, weight_decay=weight_decay, fused=True)


def cosine_lr(optimizer: torch.optim.Optimizer, step: int, steps: int, *, warmup: int = 0) -> None:
    """Set each group's rate to its ``base_lr`` times a cosine from 1 to 0 over ``steps``, after a linear warm-up."""
    scale = (
        (step + 1) / warmup
        if step < warmup
        else 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup)))
    )
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * scale


class ResumableStage:
    """One stage of a run and its folder of saved progress.

    Parameters
    ----------
    folder : Path
        Where progress is kept; made if missing.
    name : str
        Mixed into the seeds.
    module : nn.Module
        What is trained; all its parameters and buffers are saved.
    optimizer : torch.optim.Optimizer
        Its state is saved beside the module's.
    seed : int
        The run's seed.
    average : WeightAverage or None
        Of the module: kept in its place, and saved beside it.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        seed: int,
        average: WeightAverage | None = None,
    ) -> None:
        self.folder = folder
        self.name = name
        self.module = module
        self.optimizer = optimizer
        self.seed = seed
        self.average = average
        self.log: list[Metrics] = []
        folder.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        epochs: int,
        run_epoch: Callable[[int, np.random.Generator], Metrics],
        *,
        better: Callable[[Metrics], float] | None = None,
    ) -> list[Metrics]:
        """Run what is left of ``epochs`` and leave the module with the weights to keep.

        Parameters
        ----------
        epochs : int
            Total number, those of an interrupted run included.
        run_epoch : callable
            ``(epoch, generator) -> metrics``; trains one epoch.
        better : callable or None
            Value of an epoch's metrics; the epoch with the largest is kept (the first of equals). None keeps the last.

        Returns
        -------
        list of dict
            Metrics of every epoch.
        """
        self._resume()
        for epoch in range(len(self.log), epochs):
            metrics = run_epoch(epoch, seed_everything(self.seed, self.name, epoch))
            previous = [better(m) for m in self.log] if better else []
            self.log.append(metrics)
            if better and better(metrics) > max(previous, default=float("-inf")):
                _save_atomically(self._kept(), self.folder / "best.safetensors")
            self._save()
        self.module.load_state_dict(load_file(self.folder / "best.safetensors") if better else self._kept())
        return self.log

    def _kept(self) -> dict[str, Tensor]:
        with self.average.applied() if self.average else nullcontext():
            return _tensors(self.module)

    def _save(self) -> None:
        tensors = {f"module.{k}": v for k, v in _tensors(self.module).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v).clone() for k, v in state.items()}
        if self.average:
            tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        # The log travels inside the same file: weights and position can't come from different epochs.
        _save_atomically(tensors, self.folder / "progress.safetensors", {"log": json.dumps(self.log)})

    def _resume(self) -> None:
        path = self.folder / "progress.safetensors"
        if not path.exists():
            return
        self.log = json.loads(_metadata(path)["log"])
        tensors = load_file(path)
        self.module.load_state_dict(_part(tensors, "module."))
        if self.average:
            self.average.load_state_dict(_part(tensors, "average."))
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(tensors, "optimizer.").items():
            index, field = key.split(".")
            state.setdefault(int(index), {})[field] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def discard(self) -> None:
        """Delete the saved progress."""
        shutil.rmtree(self.folder)


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().contiguous().clone() for k, v in module.state_dict().items()}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _save_atomically(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)


def _metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}
