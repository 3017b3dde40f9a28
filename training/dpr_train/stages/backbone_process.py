# Stages 1 and 2 need nothing of each other. Run side by side, a core each, they take the time of the longer one; two
# threads for one of them are hardly faster than one thread, because its matrices are small.
"""Train the backbone in a process of its own, beside whatever else runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import TracebackType

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from dpr_train.backbones import build_backbone
from dpr_train.config import BackboneConfig, BackboneStage
from dpr_train.devices import choose_device
from dpr_train.progress import Progress
from dpr_train.sequences import IntArray
from dpr_train.stages.backbone import train_backbone

__all__ = ["BackboneProcess"]

_TASK, _DATA = "task.json", "sequences.safetensors"


class BackboneProcess:
    """Stage 1 in another process; a context manager that stops the process when it is left early.

    What it achieves is the saved progress in ``folder``: calling :func:`train_backbone` afterwards with the same
    folder takes up the finished work at once, or does what is left of it, and so raises what went wrong here.

    Parameters
    ----------
    folder : Path
        Saved progress of the stage.
    backbone, stage : BackboneConfig, BackboneStage
        What to train and how.
    n_items : int
        Size of the catalogue.
    train : sequence of int64 arrays
        Item rows of each user, without the validation and the test target.
    valid_targets : int64 (U,)
        Item row that follows each training sequence.
    seed, threads : int
        Of the process; the fresh backbone is the one that ``torch.manual_seed(seed)`` gives.
    device : {"cpu", "cuda"}
        Where it computes.
    """

    def __init__(
        self,
        folder: Path,
        backbone: BackboneConfig,
        stage: BackboneStage,
        *,
        n_items: int,
        train: Sequence[IntArray],
        valid_targets: IntArray,
        seed: int,
        threads: int,
        device: str,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        task = {
            "backbone": backbone.model_dump(mode="json"),
            "stage": stage.model_dump(mode="json"),
            "n_items": n_items,
            "seed": seed,
            "threads": threads,
            "device": device,
        }
        (folder / _TASK).write_text(json.dumps(task), encoding="utf-8")
        lengths = np.array([len(sequence) for sequence in train], dtype=np.int64)
        data = {"items": np.concatenate(train), "lengths": lengths, "valid_targets": valid_targets}
        save_file(data, folder / _DATA)
        self._latest: tuple[str, int, int, str] | None = None
        self._process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            [sys.executable, "-m", "dpr_train.stages.backbone_process", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a failure is raised, with its message, by the call that takes up the work
            text=True,
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> BackboneProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                what, done, total, text = json.loads(line)
                self._latest = (what, done, total, text)

    def beside(self, progress: Progress) -> Progress:
        """Return a callback for what runs beside the process: it also passes on how far the process is."""

        def both(what: str, done: int, total: int, text: str, /) -> None:
            self._pass_on(progress)
            progress(what, done, total, text)

        return both

    def wait(self, progress: Progress) -> None:
        """Wait until the process has ended, well or not."""
        while self._reader.is_alive():
            self._reader.join(timeout=0.2)
            self._pass_on(progress)
        self._process.wait()

    def _pass_on(self, progress: Progress) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            progress(*latest)


def _main(folder: Path) -> None:
    task = json.loads((folder / _TASK).read_text(encoding="utf-8"))
    data = load_file(folder / _DATA)
    torch.set_num_threads(task["threads"])
    torch.use_deterministic_algorithms(task["device"] == "cpu")
    torch.manual_seed(task["seed"])
    backbone = build_backbone(BackboneConfig.model_validate(task["backbone"]), task["n_items"])
    train_backbone(
        backbone.to(choose_device(task["device"])),
        np.split(data["items"], np.cumsum(data["lengths"])[:-1]),
        data["valid_targets"],
        BackboneStage.model_validate(task["stage"]),
        seed=task["seed"],
        folder=folder,
        progress=lambda *note: print(json.dumps(note), flush=True),
    )


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
