# How far the dial goes: the same prompts, weaker and stronger.
"""Accuracy and obedience against the strength of steering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpr_bench.quality.comparison import Steered
from dpr_bench.quality.ranking import measure
from dpr_bench.quality.subject import Subject
from dpr_bench.quality.systems import steered

__all__ = ["STRENGTHS", "strength_curve"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def strength_curve(subject: Subject, tasks: Mapping[str, Steered]) -> dict[str, list[dict[str, Any]]]:
    """NDCG@10 and obedience, history masked.

    Parameters
    ----------
    subject : Subject
        The model and its users.
    tasks : mapping of str to Steered
        Queries by task: "positive" and "negative".

    Returns
    -------
    dict
        By task a list of ``strength``, ``ndcg`` and ``obedience``, which is precision@10 of the tag asked for, or
        1 - violation@10.
    """
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, ready in tasks.items():
        curves[name] = []
        for strength in STRENGTHS:
            system = steered(subject, ready.steering, strength=strength, users=ready.task.users)
            values = measure(subject, ready.task, system).masked.values
            obedience = values["precision"] if name == "positive" else 1 - values["violation"]
            curves[name].append(
                {
                    "strength": strength,
                    "ndcg": float(values["ndcg"].mean()),
                    "obedience": float(obedience.mean()),
                }
            )
    return curves
