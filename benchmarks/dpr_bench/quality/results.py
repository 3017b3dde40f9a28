# Everything that one run measured and what it was measured on, as JSON.
"""Results of the quality benchmark."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["QualityResults"]


@dataclass
class QualityResults:
    """What was measured, on what, and by which command.

    Parameters
    ----------
    command : str
        The command line.
    machine : dict
        CPU, versions, commit.
    dataset : dict
        Name, checksum of the source, numbers of users, items and tags.
    wording_sha256 : dict of str to str
        Checksums of the frozen test wording.
    checkpoints : list of dict
        Name, seed and checksums of each.
    sections : dict
        ``rows``, ``weights``, ``understanding``, ``neutral``, ``strict``, ``text_wishes``, ``turns``, ``strength``,
        ``cold``, ``language_model``, ``goals``; those that were measured.
    minutes : float
        How long it took.
    """

    command: str
    machine: dict[str, Any]
    dataset: dict[str, Any]
    wording_sha256: dict[str, str]
    checkpoints: list[dict[str, Any]]
    sections: dict[str, Any] = field(default_factory=dict)
    minutes: float = 0.0

    @property
    def seeds(self) -> list[int]:
        """Seeds of the checkpoints, in order."""
        return [entry["seed"] for entry in self.checkpoints]

    def document(self) -> dict[str, Any]:
        """Plain values; figures that do not exist are None."""
        return {
            "command": self.command,
            "machine": self.machine,
            "minutes": self.minutes,
            "dataset": self.dataset,
            "wording_sha256": self.wording_sha256,
            "checkpoints": self.checkpoints,
            "seeds": self.seeds,
            **_plain(self.sections),
        }

    def write_json(self, path: Path) -> None:
        """Write all of it.

        Parameters
        ----------
        path : Path
            The file.
        """
        text = json.dumps(self.document(), indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else round(value, 6)
    return value
