# What the runs gave, as differences to the default, and what that says about each part.
"""Results of the ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dpr_bench.ablations.intervals import Difference, paired_difference
from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION, Values
from dpr_bench.ablations.variants import DEFAULT, Variant

__all__ = ["AblationRow", "compare", "earns_its_place"]

_STANDARD = "standard"


@dataclass(frozen=True)
class AblationRow:
    """One variant against the default.

    Parameters
    ----------
    variant, part : str
        Its name, and the part of the default that it does without.
    seconds : float
        Training and measuring, mean over seeds.
    ndcg, violation : dict of str to Difference
        By case.
    by_seed : dict of str to list of float
        Mean NDCG@10 of each seed, by case.
    earns : str
        Whether the part earns its place; "-" for the default.
    """

    variant: str
    part: str
    seconds: float
    ndcg: dict[str, Difference]
    violation: dict[str, Difference]
    by_seed: dict[str, list[float]]
    earns: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    variants: Sequence[Variant], values: Mapping[str, Sequence[Values]], seconds: Mapping[str, float]
) -> list[AblationRow]:
    """Compare every variant with the default, which comes first.

    Parameters
    ----------
    variants : sequence of Variant
        With the default among them.
    values : mapping
        By the variant's name, one entry a seed.
    seconds : mapping
        By the variant's name, mean over seeds.
    """
    default = values[DEFAULT]
    rows = []
    for variant in variants:
        ours = values[variant.name]
        ndcg = {
            case: paired_difference([v.ndcg[case] for v in ours], [v.ndcg[case] for v in default])
            for case in _measured(default, "ndcg")
        }
        violation = {
            case: paired_difference([v.violation[case] for v in ours], [v.violation[case] for v in default])
            for case in _measured(default, "violation")
        }
        by_seed = {case: [_mean(v.ndcg[case]) for v in ours] for case in ndcg}
        earns = "-" if variant.name == DEFAULT else earns_its_place(ndcg, violation)
        rows.append(
            AblationRow(variant.name, variant.part, seconds[variant.name], ndcg, violation, by_seed, earns)
        )
    return rows


def earns_its_place(ndcg: Mapping[str, Difference], violation: Mapping[str, Difference]) -> str:
    """Whether doing without a part costs anything, by three sums: without a prompt, with prompts, refused tags shown.

    Returns
    -------
    str
        "yes" and what it costs, where a whole interval is on the worse side of 0; else "no", with what gets better.
    """
    standard, prompted = ndcg.get(_STANDARD), ndcg.get(ALL_PROMPTS)
    shown = violation.get(VIOLATION)
    costs = {
        _STANDARD: standard is not None and standard.below,
        "prompts": prompted is not None and prompted.below,
        "violations": shown is not None and shown.above,
    }
    gains = {
        _STANDARD: standard is not None and standard.above,
        "prompts": prompted is not None and prompted.above,
        "violations": shown is not None and shown.below,
    }
    worse, better = (", ".join(name for name, found in side.items() if found) for side in (costs, gains))
    told = [f"without it worse: {worse}"] if worse else []
    told += [f"without it better: {better}"] if better else []
    return ("yes" if worse else "no") + (f" ({'; '.join(told)})" if told else "")


def _measured(default: Sequence[Values], what: str) -> list[str]:
    """Cases with at least one user."""
    columns: dict[str, Any] = getattr(default[0], what)
    return [case for case, column in columns.items() if (column == column).any()]


def _mean(values: Any) -> float:
    return float(values[values == values].mean())
