# What an int8 prompt encoder and an int8 backbone do to recommendations together. Each by itself is measured in
# int8_loss.py and backbone_loss.py, with the other as it is in the bundle.
"""A bundle whose prompt encoder and backbone are int8 against both in float32."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dpr_export.int8_loss import K, Loss, draw_wishes, obedience, overlap, plain_and_int8

__all__ = ["JointLoss", "measure_joint_loss"]


@dataclass(frozen=True, kw_only=True)
class JointLoss(Loss):
    """What was measured with prompts and histories; shares in [0, 1].

    Parameters
    ----------
    queries : int
        How many prompts of the validation wording were asked with a history each.
    overlap : float
        Mean share of the ten best items that both have in common, when queries are answered one by one.
    overlap_in_batches : float
        The same with int8 in one batch, where the histories' activations share a scale.
    obedience : (float, float)
        Mean share of the ten best items that have a tag that was asked for, and none that was refused: float32, int8,
        one by one.
    """

    part: ClassVar[str] = "prompt encoder with the int8 backbone"
    way_out: ClassVar[str] = "--prompt-encoder fp32 or --backbone fp32"

    queries: int
    overlap: float
    overlap_in_batches: float
    obedience: tuple[float, float]

    @property
    def measured_on(self) -> str:
        """What was asked."""
        return f"{self.queries} validation prompts with histories"

    @property
    def losses(self) -> dict[str, float]:
        """What the limit is about, by name; a gain is negative."""
        return {
            "top 10 changed by both": 1 - self.overlap,
            "top 10 changed by both in batches": 1 - self.overlap_in_batches,
            "obedience lost by both": self.obedience[0] - self.obedience[1],
        }


def measure_joint_loss(folder: Path, plain_folder: Path) -> JointLoss:
    """Compare a bundle with itself, its prompt encoder and its backbone in float32.

    Parameters
    ----------
    folder : Path
        A whole bundle in which both are quantised.
    plain_folder : Path
        Holds the graphs that they were made from, under the same names.
    """
    plain, int8 = plain_and_int8(folder, plain_folder, "prompt_encoder", "backbone")
    prompts, histories = draw_wishes(plain)
    queries = [(history, prompt.text) for history, prompt in zip(histories, prompts, strict=True)]
    exact, alone = ([r.query(*query, k=K) for query in queries] for r in (plain, int8))
    in_batches = int8.query_batch(histories, [prompt.text for prompt in prompts], k=K)
    obeyed = [
        obedience(plain.manifest.tags, prompts, [answer.tags for answer in answers])
        for answers in (exact, alone)
    ]
    return JointLoss(
        queries=len(queries),
        overlap=overlap(exact, alone),
        overlap_in_batches=overlap(exact, in_batches),
        obedience=(obeyed[0], obeyed[1]),
    )
