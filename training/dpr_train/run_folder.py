# Whose folder it is: a new one, or one that holds the beginning of this very run. Trains nothing.
"""Claim the output folder of a training run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

__all__ = ["RunError", "claim_folder", "claim_progress"]


class RunError(Exception):
    """The output folder, or what a run shall read, can't take this run."""


def claim_folder(out: Path, identity: dict[str, Any], *, restart: bool) -> None:
    """Make sure that the folder is new, or holds the beginning of this very run.

    Parameters
    ----------
    out : Path
        Made if missing.
    identity : dict
        What decides the run's result: its settings, and checksums of what it reads.
    restart : bool
        Forget what the folder holds, if a training run left it.

    Raises
    ------
    RunError
        If the folder holds a finished run, another one, or other files.
    """
    if restart and out.exists():
        if any(out.iterdir()) and not _is_ours(out):
            raise RunError(f"{out}: expected a checkpoint or a begun run to forget, got other files")
        for name in ("stages", "prompt_encoder", ".partial"):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in ("config.json", "run.json"):
            (out / name).unlink(missing_ok=True)
    if (out / "config.json").exists():
        raise RunError(
            f"{out} holds a finished checkpoint; expected a new folder, or --restart to train again"
        )
    record = out / "run.json"
    if record.exists():
        begun = json.loads(record.read_text(encoding="utf-8"))
        if begun != identity:
            different = ", ".join(_differences(begun, identity))
            raise RunError(
                f"{out} holds an unfinished run that differs in {different}; use --restart to begin again"
            )
    elif out.exists() and any(out.iterdir()) and not restart:
        raise RunError(f"{out} is not empty; expected a new folder, or one that a training run left")
    out.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


def claim_progress(folder: Path, identity: dict[str, Any]) -> None:
    """Make sure that a folder of saved progress is new, or that of this very run.

    Parameters
    ----------
    folder : Path
        Made if missing.
    identity : dict
        As for :func:`claim_folder`; plain values of JSON.

    Raises
    ------
    RunError
        If the folder holds the progress of another run.
    """
    record = folder / "run.json"
    if record.exists():
        different = _differences(json.loads(record.read_text(encoding="utf-8")), identity)
        if different:
            raise RunError(
                f"{folder} holds a run that differs in {', '.join(different)}; expected a new folder, or that run"
            )
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


def _is_ours(out: Path) -> bool:
    """Whether a training run left this folder; files of anything else must not be deleted."""
    config = out / "config.json"
    return (out / "run.json").exists() or (config.is_file() and b'"dpr-checkpoint"' in config.read_bytes())


def _differences(begun: Any, identity: Any, path: str = "") -> list[str]:
    if isinstance(begun, dict) and isinstance(identity, dict):
        keys = sorted(begun.keys() | identity.keys())
        return [d for key in keys for d in _differences(begun.get(key), identity.get(key), f"{path}.{key}")]
    return [] if begun == identity else [f"{path.lstrip('.')} ({begun!r}, now {identity!r})"]
