# Order of the work: data, checkpoints one by one, everything over seeds, files. Nothing is measured here.
"""Run the quality benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pooch
import torch
from rich.console import Console
from rich.table import Table

from dpr_bench.kernel_progress import RichWatch, Watch
from dpr_bench.machine import describe_machine
from dpr_bench.quality.examination import Examination, examine, summarise_examinations
from dpr_bench.quality.frozen_wording import verified_checksums
from dpr_bench.quality.goals import GoalRow, check_goals
from dpr_bench.quality.language_sample import Rerank
from dpr_bench.quality.metrics import popularity_percentiles
from dpr_bench.quality.plots import draw_plots
from dpr_bench.quality.report import quality_markdown
from dpr_bench.quality.results import QualityResults
from dpr_bench.quality.side_by_side import side_by_side
from dpr_bench.quality.subject import Items
from dpr_bench.quality.turns_probe import turns_probe
from dpr_train.checkpoint import CheckpointError, load_checkpoint
from dpr_train.data import Dataset, LeaveOneOut, file_sha256, leave_one_out, load_dataset
from dpr_train.encoders import fetch_minilm
from dpr_train.item_texts import TextEmbedder

__all__ = ["QualityOptions", "make_items", "run_quality", "write_pages"]


@dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """What the command line asks for; ``language_model`` is a number of queries, 0 for none; ``users`` 0 for all.

    ``workers`` is the number of checkpoints that are examined at the same time.
    """

    checkpoints: Sequence[Path]
    dataset: str
    source: str | None
    bundle: Path | None
    out: Path | None
    cache_dir: Path | None
    language_model: int = 0
    threads: int = 1
    workers: int = 1
    users: int = 0

    @property
    def command(self) -> str:
        """The command line that asks for this, without places on this machine."""
        words = [
            "dpr-bench quality",
            *(_shown(path) for path in self.checkpoints),
            f"--dataset {self.dataset}",
        ]
        words += ["--source FOLDER"] if self.source else []
        words += [f"--bundle {_shown(self.bundle)}"] if self.bundle else []
        words += [f"--language-model {self.language_model}"] if self.language_model else []
        words += [f"--threads {self.threads}"] if self.threads != 1 else []
        words += [f"--workers {self.workers}"] if self.workers != 1 else []
        words += [f"--users {self.users}"] if self.users else []
        return " ".join(words)


def run_quality(options: QualityOptions, console: Console) -> QualityResults:
    """Examine every checkpoint, average over them, show the goals, and write JSON, page and plots.

    Parameters
    ----------
    options : QualityOptions
        What to do.
    console : Console
        Where progress and goals are shown.

    Raises
    ------
    CheckpointError
        If a checkpoint is damaged, or was trained on other data.
    DataError
        If the data cannot be read.
    ValueError
        If the frozen test wording was changed, or checkpoints cannot be averaged.
    """
    begun = perf_counter()
    torch.set_num_threads(options.threads)
    watch = RichWatch(console)
    with watch.shown():
        results = _measure(options, watch)
    results.minutes = (perf_counter() - begun) / 60
    goals = check_goals(results.document())
    results.sections["goals"] = [goal.as_dict() for goal in goals]
    console.print(_goals_table(goals))
    if options.out is not None:
        name = _name(results.document())
        write_pages(results.document(), options.out)
        results.write_json(options.out / f"{name}.json")
        console.print(f"Written: {options.out / name}.json and .md", markup=False)
    console.print(f"{results.minutes:.1f} minutes")
    return results


def _measure(options: QualityOptions, watch: Watch) -> QualityResults:
    checksums = verified_checksums()
    watch.step("reading data")
    data = load_dataset(options.dataset, cache_dir=options.cache_dir, source=options.source)
    split = leave_one_out(data.sequences)
    cache = options.cache_dir or Path(pooch.os_cache("dpr-infer"))
    embed = TextEmbedder(fetch_minilm(cache))
    watch.step("reading the items' texts")
    items = make_items(data, split, embed)
    results = QualityResults(
        command=options.command,
        machine={**describe_machine(), "torch": torch.__version__, "threads": options.threads},
        dataset=_describe(data),
        wording_sha256=checksums,
        checkpoints=[],
    )
    rerank = _language_model() if options.language_model else None
    for folder in options.checkpoints:  # all of them first: a wrong one is told at once
        trained = load_checkpoint(folder).training
        if trained["data_sha256"] != data.source_sha256:
            raise CheckpointError(
                f"{folder} was trained on data with checksum {trained['data_sha256']}; "
                f"got {data.name} with {data.source_sha256}"
            )
        results.checkpoints.append(_identity(folder, int(trained["config"]["seed"])))
    chosen = _some_users(split, options.users)

    def examine_folder(folder: Path) -> Examination:
        watch.step(f"checkpoint {folder.name}")
        checkpoint = load_checkpoint(folder)
        return examine(checkpoint, items, embed, chosen, watch, rerank=rerank, sampled=options.language_model)

    found = side_by_side(examine_folder, options.checkpoints, options.workers)
    results.sections |= summarise_examinations(found)
    if options.bundle is not None:
        watch.step("conversations")
        results.sections["turns"] = turns_probe(options.bundle)
    return results


def make_items(data: Dataset, split: LeaveOneOut, embed: TextEmbedder) -> Items:
    """What the systems know of the items; popularity counts interactions before the test target.

    Parameters
    ----------
    data : Dataset
        Items with or without texts.
    split : LeaveOneOut
        Its users' sequences.
    embed : TextEmbedder
        Reads the descriptions.
    """
    texts = data.items.texts or ("",) * data.n_items
    return Items(
        tags=data.tag_matrix.copy(),  # torch does not take what is read-only
        popularity=popularity_percentiles([*split.train, split.validation], data.n_items),
        titles=data.items.titles,
        own_texts=[f"{title} {text}" for title, text in zip(data.items.titles, texts, strict=True)],
        embedded=embed(data.items.descriptions),
    )


def _some_users(split: LeaveOneOut, count: int) -> LeaveOneOut:
    """A few users evenly spread, to try things; all by default."""
    if not count or count >= len(split):
        return split
    rows: npt.NDArray[np.int64] = np.linspace(0, len(split) - 1, count).astype(np.int64)
    return LeaveOneOut(
        train=tuple(split.train[row] for row in rows),
        validation=split.validation[rows],
        test=split.test[rows],
    )


def _language_model() -> Rerank:
    try:  # by name: it has needs of its own, and a run without it must not have them
        module = import_module("dpr_bench.quality.language_model")
    except ImportError as error:
        raise ValueError(f"--language-model needs dpr_bench.quality.language_model: {error}") from error
    rerank: Rerank = module.rerank
    return rerank


def _describe(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "sha256": data.source_sha256,
        "users": data.n_users,
        "items": data.n_items,
        "interactions": data.n_interactions,
        "tags": len(data.tag_names),
    }


def _identity(folder: Path, seed: int) -> dict[str, Any]:
    return {
        "name": folder.name,
        "seed": seed,
        "model_sha256": file_sha256(folder / "model.safetensors"),
        "prompt_encoder_sha256": file_sha256(folder / "prompt_encoder" / "model.safetensors"),
    }


def write_pages(document: dict[str, Any], out: Path) -> list[GoalRow]:
    """Write page and plots of a run from its JSON document, and return its goals; nothing is measured again.

    Parameters
    ----------
    document : dict
        As :meth:`QualityResults.document` gives it, or as read from the file.
    out : Path
        Folder; made if missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    name, goals = _name(document), check_goals(document)
    page = quality_markdown(document, goals, draw_plots(document, out, name))
    (out / f"{name}.md").write_text(page, encoding="utf-8")
    return goals


def _name(document: dict[str, Any]) -> str:
    return f"quality_{document['dataset']['name']}"


def _goals_table(goals: Sequence[GoalRow]) -> Table:
    table = Table(title="Goals of quality")
    for column in ("goal", "must", "aim", "measured", "met"):
        table.add_column(column, overflow="fold")
    for goal in goals:
        table.add_row(*asdict(goal).values(), style="red" if goal.met == "no" else None)
    return table


def _shown(path: Path) -> str:
    return path.name if path.is_absolute() else str(path)
