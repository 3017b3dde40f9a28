# Sessions against whole queries: what is saved when one item or one turn is new. Both in turn, in one process.
"""Time ``Recommender.session`` against ``Recommender.query``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from dpr_bench.machine import describe_machine
from dpr_export.write_bundle import export_bundle
from dpr_infer import Recommendation, Recommender, UserSession
from dpr_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from dpr_train.model import DPR

__all__ = ["run_sessions"]

_PROMPTS = ("something with drama, please", "no comedy")
_LONGEST = 200
_WARM_UP = 20


def run_sessions(
    checkpoint_folder: Path, kinds: Sequence[str], lengths: Sequence[int], rounds: int, console: Console
) -> None:
    """Time sessions over each kind of backbone, and print medians and their ratios.

    Backbones have random weights and read up to 200 items: time does not depend on what they have learned.

    Parameters
    ----------
    checkpoint_folder : Path
        Everything but the backbone: items, tags, prompt encoder, experts.
    kinds : sequence of str
        Of backbones.
    lengths : sequence of int
        Items of the histories, the new one among them.
    rounds : int
        Pairs of calls for each figure.
    console : Console
        Where to print.
    """
    checkpoint = load_checkpoint(checkpoint_folder)
    machine = describe_machine()
    table = Table(
        title="Median milliseconds a call: of a session / of a whole query = ratio", caption=str(machine)
    )
    for column in ("backbone", "items", "one more item", "one more item, prompt", "another prompt, known"):
        table.add_column(column, justify="right")
    with TemporaryDirectory() as scratch:
        for kind in kinds:
            folder = Path(scratch) / kind
            export_bundle(_untrained(checkpoint, checkpoint_folder, kind, folder), folder / "bundle")
            recommender = Recommender(folder / "bundle", threads=1)
            for length in lengths:
                cells = _measure(recommender, length, rounds)
                table.add_row(kind, str(length) + (" (beyond)" if length > _LONGEST else ""), *cells)
    console.print(table)


def _untrained(checkpoint: Checkpoint, folder: Path, kind: str, out: Path) -> Path:
    """Write a checkpoint with another backbone of the same width."""
    old = checkpoint.model
    backbone = old.config.backbone.model_copy(update={"kind": kind, "max_history": _LONGEST})
    torch.manual_seed(0)
    model = DPR(
        old.config.model_copy(update={"backbone": backbone}),
        old.carries,
        folder / "prompt_encoder",
    )
    rest = {name: value for name, value in old.state_dict().items() if not name.startswith("backbone.")}
    model.load_state_dict(rest, strict=False)
    examples = zip(
        *(checkpoint.examples.column(name).to_pylist() for name in ("name", "history")), strict=True
    )
    save_checkpoint(
        out / "checkpoint",
        model,
        folder / "prompt_encoder",
        checkpoint.items,
        list(examples),
        checkpoint.training,
    )
    return out / "checkpoint"


def _measure(recommender: Recommender, length: int, rounds: int) -> list[str]:
    rng = np.random.default_rng(length)
    times: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in ("item", "both", "prompt")}
    for known in _PROMPTS:
        recommender.query([], known)
    for turn in range(rounds + _WARM_UP):
        history = rng.choice(recommender.items.ids, length).tolist()
        for name, prompt in (("item", None), ("both", _PROMPTS[0])):
            session = recommender.session(history[:-1], prompt)
            session.query()
            _time(
                times[name],
                turn,
                partial(_add_and_ask, session, history[-1]),
                partial(recommender.query, history, prompt),
            )
        session.start_over()
        session.say(_PROMPTS[1])
        _time(times["prompt"], turn, session.query, partial(recommender.query, history, _PROMPTS[1]))
    return [_cell(*pair) for pair in times.values()]


def _add_and_ask(session: UserSession, item: str) -> Recommendation:
    session.append(item)
    return session.query()


def _time(
    into: tuple[list[int], list[int]], turn: int, ours: Callable[[], object], whole: Callable[[], object]
) -> None:
    """Time both calls, the one first in odd turns and the other in even ones."""
    for which in ((0, 1), (1, 0))[turn % 2]:
        begun = perf_counter_ns()
        (ours, whole)[which]()
        if turn >= _WARM_UP:
            into[which].append(perf_counter_ns() - begun)


def _cell(session_ns: Sequence[int], query_ns: Sequence[int]) -> str:
    ours, whole = (float(np.median(times)) / 1e6 for times in (session_ns, query_ns))
    return f"{ours:.3f} / {whole:.3f} = {ours / whole:.2f}"
