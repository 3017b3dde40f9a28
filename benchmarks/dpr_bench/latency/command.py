# dpr-bench latency, top to bottom: what is opened, compared, timed and written. Nothing is measured here.
"""Run the latency benchmark."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from rich.console import Console

from dpr_bench.kernel_progress import RichWatch, Watch
from dpr_bench.latency.agreement import Agreement, compare_answers
from dpr_bench.latency.cases import FULL_PLAN, QUICK_PLAN, Plan
from dpr_bench.latency.contenders import Contender, Models, limited_threads, list_contenders, open_contenders
from dpr_bench.latency.goals import SOAK_QUERIES, GoalRow, check_goals
from dpr_bench.latency.million import extend_to, measure_million
from dpr_bench.latency.plain_graphs import export_plain_graphs
from dpr_bench.latency.plots import plot_latency, plot_steps
from dpr_bench.latency.processes import measure_memory, measure_start_up, write_questions
from dpr_bench.latency.questions import EXAMPLES, FreshPrompts, Questions, ask_examples, ask_users
from dpr_bench.latency.report import goals_table, latency_markdown
from dpr_bench.latency.results import LatencyResults
from dpr_bench.latency.rounds import LatencyRow, measure_case, measure_cold
from dpr_bench.latency.steps import measure_outside, measure_steps
from dpr_bench.machine import describe_machine
from dpr_export.write_bundle import export_bundle
from dpr_infer.bundle import Bundle, open_bundle
from dpr_infer.bundle_folder import sha256
from dpr_train.checkpoint import Checkpoint, CheckpointError, load_checkpoint

__all__ = ["LatencyOptions", "run_latency"]

_PACKAGES = ("torch", "faiss-cpu", "openvino", "hdrhistogram")
_MEMORY_QUERIES = 100_000
_STEP_SIZES = (1, 8, 64, 256)


@dataclass(frozen=True, kw_only=True)
class LatencyOptions:
    """What the command line asks for.

    Attributes
    ----------
    bundle, checkpoint : Path
        A bundle and the checkpoint that it was made of.
    dataset, source, cache_dir
        Whose histories: as for `load_dataset`; None for the data that the checkpoint names, "examples" for the
        bundle's own.
    threads : sequence of int
        A whole set of cases for each.
    quick, soak : bool
        Less of everything; a million queries for memory.
    queries : int, optional
        For memory; by default 100,000, and a fifth of it where it is quick.
    out : Path, optional
        Where to write.
    """

    bundle: Path
    checkpoint: Path
    dataset: str | None = None
    source: str | None = None
    cache_dir: Path | None = None
    threads: Sequence[int] = field(default=(1, 2))
    quick: bool = False
    soak: bool = False
    queries: int | None = None
    out: Path | None = None

    @property
    def plan(self) -> Plan:
        """How much is measured."""
        return QUICK_PLAN if self.quick else FULL_PLAN

    @property
    def memory_queries(self) -> int:
        """How many queries one process answers."""
        if self.queries is not None:
            return self.queries
        if self.soak:
            return SOAK_QUERIES
        return _MEMORY_QUERIES // 5 if self.quick else _MEMORY_QUERIES

    @property
    def command(self) -> str:
        """The command line that asks for this, without places on this machine."""
        words = [f"dpr-bench latency bundles/{self.bundle.name} --checkpoint runs/{self.checkpoint.name}"]
        words += [f"--dataset {Path(self.dataset).name}"] if self.dataset else []
        words += ["--source FOLDER"] if self.source else []
        words += [f"--threads {threads}" for threads in self.threads]
        words += ["--quick"] if self.quick else []
        words += ["--soak"] if self.soak else []
        words += [f"--memory-queries {self.queries}"] if self.queries is not None else []
        return " ".join(words)


def run_latency(options: LatencyOptions, console: Console) -> LatencyResults:
    """Measure, show the goals, and write JSON, page and plots.

    Parameters
    ----------
    options : LatencyOptions
        What to do.
    console : Console
        Where progress and goals are shown.

    Raises
    ------
    ValueError
        If contenders do not answer the same, or the bundle's backbone is int8: the exact contenders share it.
    CheckpointError, BundleError, DataError
        If checkpoint, bundle or data cannot be read, or do not belong together.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a batch of texts would take all cores
    watch = RichWatch(console)
    with watch.shown(), TemporaryDirectory(prefix="dpr-bench-") as folder:
        results = _Run(options, Path(folder), watch).measure()
    goals = check_goals(results)
    console.print(goals_table(goals))
    for name, why in results.left_out.items():
        console.print(f"Left out: {name} ({why})", markup=False)
    if options.out is not None:
        paths = _write(results, goals, options)
        console.print(f"Written: {', '.join(map(str, paths))}", markup=False)
    console.print(f"{results.minutes:.1f} minutes")
    return results


@dataclass(frozen=True)
class _Run:
    options: LatencyOptions
    folder: Path
    watch: Watch

    def measure(self) -> LatencyResults:
        begun = perf_counter()
        plan = self.options.plan
        self.watch.step("opening bundle and checkpoint")
        bundle, checkpoint = open_bundle(self.options.bundle), load_checkpoint(self.options.checkpoint)
        _check_belongs(bundle, self.options.checkpoint)
        questions = self._questions(bundle, checkpoint)
        models = self._models(bundle, checkpoint)
        fresh = FreshPrompts(questions.prompts)
        contenders, left_out = list_contenders(models, questions, compiled=plan.compiled)
        self.watch.step("first calls")
        cold = measure_cold(contenders, questions, fresh, plan.cold_rounds, self.watch)
        rows, agreement = self._cases(contenders, left_out, questions, fresh)
        scale = 0.25 if self.options.quick else 1.0
        self.watch.step("steps of a query")
        steps = measure_steps(models.float32, questions, fresh, _STEP_SIZES, scale=scale)
        outside = measure_outside(models.float32, questions, scale=scale)
        path = write_questions(questions, self.folder / "questions.json")
        bundles = {f"{bundle.path.name}, {bundle.manifest.encoder_precision} prompt encoder": models.bundle}
        if models.float32 != models.bundle:
            bundles["the same, fp32 prompt encoder"] = models.float32
        start_up = []
        for name, of_bundle in bundles.items():
            self.watch.step(f"fresh processes: {name}")
            start_up.append(measure_start_up(name, of_bundle, path, plan.processes, self.watch))
        self.watch.step(f"memory over {self.options.memory_queries:,} queries")
        memory = measure_memory(models.bundle, path, self.options.memory_queries, self.watch)
        self.watch.step(f"making a bundle of {plan.million:,} items")
        extended = extend_to(models.float32, self.folder / "extended", plan.million)
        self.watch.step(f"one query against {plan.million:,} items")
        million, million_agreement = measure_million(models, extended, questions, plan, self.watch)
        return LatencyResults(
            bundle=_describe(bundle),
            questions=questions.describe(),
            rounds=plan.rounds,
            rows=rows,
            cold=cold,
            agreement=agreement,
            million_agreement=million_agreement,
            left_out=left_out,
            steps=steps,
            outside=outside,
            start_up=start_up,
            memory=memory,
            million=million,
            minutes=(perf_counter() - begun) / 60,
        )

    def _questions(self, bundle: Bundle, checkpoint: Checkpoint) -> Questions:
        options = self.options
        if options.dataset == EXAMPLES:
            return ask_examples(bundle)
        self.watch.step("reading the users' histories")
        return ask_users(
            checkpoint, bundle, dataset=options.dataset, source=options.source, cache_dir=options.cache_dir
        )

    def _models(self, bundle: Bundle, checkpoint: Checkpoint) -> Models:
        float32 = bundle.path
        if bundle.manifest.encoder_precision != "fp32":
            self.watch.step("exporting the same bundle in float32")
            float32 = self.folder / "float32"
            export_bundle(self.options.checkpoint, float32)
        self.watch.step("exporting plain graphs")
        plain = self.folder / "plain"
        export_plain_graphs(checkpoint.model, plain)
        return Models(
            bundle=bundle.path, float32=float32, plain_graphs=plain, checkpoint=self.options.checkpoint
        )

    def _cases(
        self,
        contenders: list[Contender],
        left_out: dict[str, str],
        questions: Questions,
        fresh: FreshPrompts,
    ) -> tuple[list[LatencyRow], list[Agreement]]:
        rows: list[LatencyRow] = []
        agreement: list[Agreement] = []
        exact = [contender.name for contender in contenders if contender.exact]
        for threads in self.options.threads:
            self.watch.step(f"opening {len(contenders)} pipelines, threads: {threads}")
            with limited_threads(threads):  # torch.compile compiles for the threads that it finds
                pipelines = open_contenders(contenders, threads, left_out)
                if not agreement:
                    self.watch.step("comparing answers")
                    batches = [*questions.batches(1, 128), *questions.batches(64, 4)]
                    agreement = compare_answers(pipelines, exact, batches)
            for case in self.options.plan.cases(threads):
                self.watch.step(f"threads: {threads}; {case.name}")
                rows += measure_case(case, pipelines, questions, fresh, self.options.plan, self.watch)
        return rows, agreement


def _check_belongs(bundle: Bundle, checkpoint: Path) -> None:
    made_of = json.loads((bundle.path / "manifest.json").read_bytes())["made_by"].get("checkpoint_sha256")
    got = sha256(checkpoint / "model.safetensors")
    if made_of != got:
        raise CheckpointError(
            f"{bundle.path} must be made of {checkpoint}; its manifest names a model with checksum {made_of}, "
            f"the checkpoint's is {got}"
        )
    if bundle.manifest.backbone_precision != "fp32":
        raise ValueError(
            f"{bundle.path} must have a backbone in fp32, to be compared with PyTorch; got "
            f"{bundle.manifest.backbone_precision}"
        )


def _describe(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": bundle.path.name,
        "items": manifest.dims.items,
        "item_dim": manifest.dims.item,
        "tags": manifest.dims.tags,
        "experts": manifest.dims.experts,
        "prompt_encoder": manifest.encoder_precision,
    }


def _setup() -> dict[str, Any]:
    setup: dict[str, Any] = dict(describe_machine())
    for package in _PACKAGES:
        try:
            setup[package] = version(package)
        except PackageNotFoundError:  # OpenVINO is optional
            continue
    return setup


def _write(results: LatencyResults, goals: list[GoalRow], options: LatencyOptions) -> list[Path]:
    out = options.out
    assert out is not None
    out.mkdir(parents=True, exist_ok=True)
    quick = "_quick" if options.quick else ""  # quick runs have files of their own
    name = f"latency_{results.bundle['name']}{quick}"
    setup = _setup()
    document = {
        "command": options.command,
        "machine": setup,
        "goals": [goal.as_dict() for goal in goals],
        **results.as_dict(),
    }
    page, table = out / f"{name}.md", out / f"{name}.json"
    pictures = f"{name}.png", f"{name}_steps.png"
    table.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    page.write_text(latency_markdown(results, goals, options.command, setup, pictures), encoding="utf-8")
    first = results.rows[0].threads
    plot_latency([row for row in results.rows if row.threads == first], out / pictures[0])
    plot_steps(results.steps, out / pictures[1])
    return [table, page, *(out / picture for picture in pictures)]
