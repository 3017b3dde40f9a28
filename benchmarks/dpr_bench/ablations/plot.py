# The differences as a picture: a panel a sum, a line a variant.
"""Plot the ablations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION
from dpr_bench.ablations.results import AblationRow

__all__ = ["plot_ablations"]

_WORSE, _BETTER, _UNSURE = "#c2693c", "#2a7f62", "#7f8a94"
_PANELS = (
    ("NDCG@10, no prompt", "ndcg", "standard"),
    ("NDCG@10, all prompts", "ndcg", ALL_PROMPTS),
    ("violation@10", "violation", VIOLATION),
)


def plot_ablations(rows: Sequence[AblationRow], path: Path) -> bool:
    """Draw each variant's difference to the default with its interval; orange is worse, green better.

    Returns
    -------
    bool
        False, and no picture, if there is nothing but the default.
    """
    variants = [row for row in rows if row.earns != "-"][::-1]
    panels = [panel for panel in _PANELS if variants and panel[2] in getattr(variants[0], panel[1])]
    if not panels:
        return False
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    size = (2.2 + 2.9 * len(panels), 1.3 + 0.32 * len(variants))
    figure, axes = plt.subplots(
        1, len(panels), figsize=size, layout="constrained", squeeze=False, sharey=True
    )
    for axis, (title, what, case) in zip(axes[0], panels, strict=True):
        for place, row in enumerate(variants):
            found = getattr(row, what)[case]
            worse, better = (found.below, found.above) if what == "ndcg" else (found.above, found.below)
            colour = _WORSE if worse else _BETTER if better else _UNSURE
            axis.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
            axis.plot(found.difference, place, "o", color=colour, markersize=5)
        axis.axvline(0, color="#30363c", linewidth=0.8)
        axis.set_yticks(range(len(variants)), [row.variant for row in variants])
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(
            f"difference to the default ({'higher' if what == 'ndcg' else 'lower'} is better)", fontsize=8
        )
        axis.tick_params(labelsize=8)
        axis.grid(visible=True, axis="x", color="#e3e6e9", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return True
