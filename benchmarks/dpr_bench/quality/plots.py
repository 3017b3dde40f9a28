# The results as pictures: systems by task and wording, the strength curve, understanding by idiom and by tag.
"""Plot the results of the quality benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from dpr_bench.quality.summary import Row, find_row

__all__ = ["draw_plots", "plot_families", "plot_strength", "plot_systems", "plot_tags"]

Document = dict[str, Any]

_OURS, _STRICT, _FILTER, _READ, _TEXT, _PLAIN = (
    "#2a7f62",
    "#8cc3ad",
    "#c2693c",
    "#e0b090",
    "#4b6c9e",
    "#a7afb6",
)
_WORDINGS = ("seen", "unseen families", "unseen words")
_SHOWN = (
    ("backbone", False, _PLAIN),
    ("filter inside top 50", False, "#7f8a94"),
    ("exact filter", False, _FILTER),
    ("understood filter", True, _READ),
    ("text re-ranking of top 100", True, "#8d6aa8"),
    ("additive text steering", True, _TEXT),
    ("ours", True, _OURS),
    ("ours, strict", True, _STRICT),
)


def draw_plots(document: Document, out: Path, name: str) -> list[str]:
    """Draw everything that was measured.

    Parameters
    ----------
    document : dict
        As :meth:`QualityResults.document` gives it.
    out : Path
        Folder.
    name : str
        Beginning of the files' names.

    Returns
    -------
    list of str
        Names of the files.
    """
    mpl.use("Agg")
    drawn = [f"{name}_systems.png"]
    plot_systems(document["rows"], out / drawn[0])
    if document.get("strength"):
        drawn.append(f"{name}_strength.png")
        plot_strength(document["strength"], out / drawn[-1])
    if document.get("understanding"):
        drawn += [f"{name}_families.png", f"{name}_tags.png"]
        plot_families(document["understanding"]["families"], out / drawn[-2])
        plot_tags(document["understanding"]["tags"], out / drawn[-1])
    return drawn


def plot_systems(rows: Sequence[Row], path: Path) -> None:
    """Bars of NDCG@10 with intervals, a panel a task, a group a wording.

    Parameters
    ----------
    rows : sequence of dict
        Of the JSON; tags chosen hard, history masked.
    path : Path
        The picture.
    """
    tasks = [t for t in ("positive", "negative", "compound") if find_row(rows, t, "backbone")]
    figure, axes = _figure(1, len(tasks), (5.2 * len(tasks), 4.4))
    width = 0.86 / len(_SHOWN)
    for axis, task in zip(axes, tasks, strict=True):
        for place, (system, reads, colour) in enumerate(_SHOWN):
            found = [find_row(rows, task, system, wording if reads else "-") for wording in _WORDINGS]
            at = [n + (place - (len(_SHOWN) - 1) / 2) * width for n, row in enumerate(found) if row]
            intervals = [row["masked"]["ndcg_interval"] for row in found if row]
            means = np.array([i["mean"] for i in intervals])
            errors = [means - [i["low"] for i in intervals], [i["high"] for i in intervals] - means]
            axis.bar(
                at, means, width * 0.94, yerr=errors, color=colour, label=system, error_kw={"linewidth": 0.9}
            )
        axis.set_xticks(range(len(_WORDINGS)), _WORDINGS)
        axis.set_title(task, fontsize=11)
    axes[0].set_ylabel("NDCG@10, history masked (higher is better)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _save(figure, axes, "Whole catalogue ranked, tags chosen hard; lines are 95 % intervals over users", path)


def plot_strength(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """NDCG@10 and obedience against strength, a panel a task.

    Parameters
    ----------
    curves : dict
        Of :func:`strength_curve`.
    path : Path
        The picture.
    """
    figure, axes = _figure(1, len(curves), (4.6 * len(curves), 3.6))
    for axis, (task, points) in zip(axes, curves.items(), strict=True):
        x = [point["strength"] for point in points]
        axis.plot(x, [p["ndcg"] for p in points], marker="o", color=_OURS, label="NDCG@10")
        other = axis.twinx()
        other.plot(x, [p["obedience"] for p in points], marker="s", color=_FILTER, linestyle="--")
        other.set_ylim(0, 1.05)
        other.spines["top"].set_visible(False)
        other.tick_params(axis="y", colors=_FILTER)
        other.set_ylabel("precision@10" if task == "positive" else "1 - violation@10", color=_FILTER)
        axis.set_ylim(0, 1.08 * max(p["ndcg"] for p in points))
        axis.set_title(task, fontsize=11)
        axis.set_xlabel("strength (1 is the default)")
        axis.set_ylabel("NDCG@10", color=_OURS)
    _save(figure, axes, "Unseen families: accuracy and obedience against strength", path)


def plot_families(families: Sequence[Document], path: Path) -> None:
    """Polarity of each family of unseen idioms, sorted, asks and refusals apart; the worst are named.

    Parameters
    ----------
    families : sequence of dict
        Of :func:`by_family`.
    path : Path
        The picture.
    """
    figure, axes = _figure(2, 1, (9.0, 6.4))
    for axis, kind, colour in zip(axes, ("ask", "refuse"), (_OURS, _FILTER), strict=True):
        mine = sorted((f for f in families if f["kind"] == kind), key=lambda f: f["polarity"])
        axis.bar(range(len(mine)), [f["polarity"] for f in mine], 0.8, color=colour)
        worst = [f for f in mine if f["polarity"] < 1][:6]
        named = "worst: " + ", ".join(f"{f['family']} {f['polarity']:.2f}" for f in worst)
        axis.set_ylim(0, 1.02)
        axis.margins(x=0.005)
        axis.set_xticks([])
        axis.set_ylabel("share of wishes read")
        axis.set_title(
            f"{'asked' if kind == 'ask' else 'refused'}: {len(mine)} families, "
            f"{sum(f['polarity'] == 1 for f in mine)} without an error\n{named if worst else ''}",
            fontsize=9,
        )
    _save(figure, axes, "Polarity by family of idioms that training never saw", path)


def plot_tags(tags: Sequence[Document], path: Path) -> None:
    """Polarity of asks and refusals by tag.

    Parameters
    ----------
    tags : sequence of dict
        Of :func:`by_tag`.
    path : Path
        The picture.
    """
    figure, axes = _figure(1, 1, (max(6.0, 0.5 * len(tags)), 3.8))
    axis = axes[0]
    for shift, key, colour, label in (
        (-0.2, "polarity_ask", _OURS, "asked"),
        (0.2, "polarity_refuse", _FILTER, "refused"),
    ):
        values = [tag[key] for tag in tags]
        axis.bar([n + shift for n in range(len(tags))], values, 0.38, color=colour, label=label)
    lowest = min(min(tag["polarity_ask"], tag["polarity_refuse"]) for tag in tags)
    bottom = max(0.0, np.floor(10 * lowest - 0.5) / 10)
    axis.set_ylim(bottom, 1.003)
    axis.set_xticks(range(len(tags)), [tag["tag"] for tag in tags], rotation=45, ha="right", fontsize=8)
    axis.set_ylabel(f"polarity (axis from {bottom:.1f})")
    figure.legend(loc="outside upper right", frameon=False, fontsize=9, ncols=2)
    _save(figure, axes, "Polarity by tag, unseen families", path)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    return figure, axes.ravel()


def _save(figure: Any, axes: Any, title: str, path: Path) -> None:
    from matplotlib import pyplot as plt

    for axis in axes:
        axis.grid(visible=True, axis="y", color="#e3e6e9", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.02, ha="left")
    figure.savefig(path, dpi=150)
    plt.close(figure)
