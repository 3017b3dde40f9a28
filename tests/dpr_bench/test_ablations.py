# A variant changes what it says and no more; wishes are those of the evaluation; the verdict follows the intervals.

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dpr_bench import cli
from dpr_bench.ablations.cases import make_wishes
from dpr_bench.ablations.command import AblationOptions, run_ablations
from dpr_bench.ablations.inputs import Inputs, open_inputs, without_texts
from dpr_bench.ablations.intervals import Difference, paired_difference
from dpr_bench.ablations.measure import ALL_PROMPTS, VIOLATION
from dpr_bench.ablations.report import AblationRun, ablations_table
from dpr_bench.ablations.results import earns_its_place
from dpr_bench.ablations.train_variant import run_variant, start_model
from dpr_bench.ablations.variants import DEFAULT, choose_variants, make_variants
from dpr_train.checkpoint import CheckpointError
from dpr_train.config import SteeringConfig, SteeringStage
from dpr_train.data import make_synthetic
from dpr_train.evaluate import evaluate, make_tasks
from dpr_train.progress import silent
from tiny_model import tiny_checkpoint, tiny_dataset

EXPERTS = ("toward", "toward", "away", "away", "toward_text", "away_text")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("trained") / "checkpoint", experts=EXPERTS)


def encoder_of(checkpoint: Path) -> Path:
    return checkpoint.parent / "checkpoint.encoder"


@pytest.fixture(scope="module")
def inputs(checkpoint: Path) -> Inputs:
    return open_inputs(checkpoint, tiny_dataset(), encoder_of(checkpoint), silent)


def options_for(
    checkpoint: Path, out: Path | None, *, variants: Sequence[str] = (), workers: int = 1
) -> AblationOptions:
    return AblationOptions(
        checkpoint=checkpoint,
        dataset="tiny",
        source=None,
        cache_dir=checkpoint,  # not looked into: data and texts are given
        seeds=[0, 1],
        variants=variants,
        scratch_epochs=1,
        threads=1,
        workers=workers,
        out=out,
    )


@pytest.fixture(scope="module")
def run(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[AblationRun, Path, str]:
    """All variants with two seeds, and what was written."""
    out = tmp_path_factory.mktemp("out")
    options = options_for(checkpoint, out)
    text = io.StringIO()
    console = Console(file=text, width=300)
    found = run_ablations(options, console, data=tiny_dataset(), text_folder=encoder_of(checkpoint))
    return found, out, text.getvalue()


def test_seeds_in_processes_of_their_own_give_the_same(checkpoint: Path) -> None:
    found = []
    for workers in (1, 2):
        options = options_for(checkpoint, None, variants=["no token attention"], workers=workers)
        folder = encoder_of(checkpoint)
        run = run_ablations(options, Console(file=io.StringIO()), data=tiny_dataset(), text_folder=folder)
        found.append([{k: v for k, v in row.as_dict().items() if k != "seconds"} for row in run.rows])
    assert len(found[0]) == 2
    assert found[0] == found[1]


def test_variants_change_one_thing_and_those_that_change_nothing_are_left_out() -> None:
    variants = {v.name: v for v in make_variants(SteeringConfig(), SteeringStage(), scratch_epochs=4)}
    assert len(variants) == 14
    assert [variants[name].stage.positions_first for name in ("prompts first", "positions first")] == [0, 1]
    assert variants["no text side"].steering.experts == ("toward", "toward", "away", "away")
    assert variants["no text side"].steering.text_dim == 0
    assert variants["one expert a polarity"].steering.experts == (
        "toward",
        "away",
        "toward_text",
        "away_text",
    )
    assert variants["linear negative"].steering.experts.count("against") == 2
    assert [name for name, v in variants.items() if not v.frozen] == [
        "backbone tuned",
        "joint from scratch, 4 epochs",
    ]
    for variant in variants.values():
        changed = {
            k for k, v in variant.steering.model_dump().items() if v != SteeringConfig().model_dump()[k]
        }
        assert len(changed) <= 1 or changed == {"experts", "text_dim"}
    softplus = SteeringConfig(phi="softplus", experts=("toward", "away"), text_dim=0)
    names = [v.name for v in make_variants(softplus, SteeringStage(backbone_lr=1e-3))]
    assert {"softplus penalty", "one expert a polarity", "no text side"}.isdisjoint(names)
    assert all(v.frozen for v in make_variants(softplus, SteeringStage(backbone_lr=1e-3))[:-2])


def test_variants_are_chosen_by_parts_of_names() -> None:
    variants = make_variants(SteeringConfig(), SteeringStage())
    assert [v.name for v in choose_variants(variants, ["gates"])] == [DEFAULT, "gates not learned"]
    assert choose_variants(variants, []) == variants
    with pytest.raises(ValueError, match="no variant has 'gtaes' in its name"):
        choose_variants(variants, ["gtaes"])


def test_single_wishes_are_those_of_the_evaluation_and_several_obey_its_rules(inputs: Inputs) -> None:
    histories, targets, tags = inputs.split.train, inputs.split.validation, inputs.tags
    found = {w.task: w for w in make_wishes(histories, targets, tags)}
    for task in make_tasks(histories, targets, tags):
        if not len(task):
            continue
        wishes = found[task.name]
        assert np.array_equal(wishes.users, task.users)
        assert wishes.asked.tolist() == [[tag] if tag >= 0 else [] for tag in task.asked]
        assert wishes.refused.tolist() == [[tag] if tag >= 0 else [] for tag in task.refused]
    assert "two refused" in found
    for wishes in found.values():
        assert all(tags[targets[u], a].all() for u, a in zip(wishes.users, wishes.asked, strict=True))
        assert not any(tags[targets[u], r].any() for u, r in zip(wishes.users, wishes.refused, strict=True))
        assert all(len(set(row)) == len(row) for row in wishes.refused.tolist())


def test_no_prompt_is_measured_as_the_evaluation_measures_it(inputs: Inputs) -> None:
    default = make_variants(inputs.config.steering, inputs.config.stage3)[0]
    values = run_variant(inputs, default, inputs.prompts(0), 0)
    model, split = inputs.checkpoint.model, inputs.split
    rows = evaluate(model, inputs.checkpoint.tokenizer, split.train, split.validation, seed=0, wordings=[])
    assert values.ndcg["standard"].mean() == pytest.approx(rows[0].ndcg)
    assert rows[0].system == "backbone"


def test_a_variant_starts_with_what_the_checkpoint_knows_before_stage_3(inputs: Inputs) -> None:
    default = make_variants(inputs.config.steering, inputs.config.stage3)[0]
    model, trained = start_model(inputs, default, 0), inputs.checkpoint.model
    for name in ("text_vectors", "tag_embeddings"):
        assert np.array_equal(getattr(model, name), getattr(trained, name))
    for part in ("backbone", "prompt_encoder", "fusion.reader"):
        ours, theirs = model.get_submodule(part).state_dict(), trained.get_submodule(part).state_dict()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)


def test_without_texts_keeps_the_prompts_about_tags(inputs: Inputs) -> None:
    pool = inputs.prompts(0)
    kept = without_texts(pool)
    assert 0 < len(kept) <= len(pool)
    assert (kept.asked | kept.refused).any(1).all()
    assert [p.text for p in kept.prompts] == [
        p.text for p, a, r in zip(pool.prompts, pool.asked, pool.refused, strict=True) if a.any() or r.any()
    ]


def test_everything_is_measured_and_written(run: tuple[AblationRun, Path, str]) -> None:
    found, out, text = run
    rows = {row.variant: row for row in found.rows}
    assert len(rows) == 14
    assert rows[DEFAULT].earns == "-"
    assert rows[DEFAULT].ndcg[ALL_PROMPTS].difference == 0
    frozen = [row for row in found.rows if not row.variant.startswith(("backbone", "joint"))]
    assert all(row.ndcg["standard"].difference == 0 for row in frozen)
    assert rows["backbone tuned"].ndcg["standard"].difference != 0
    assert all(row.ndcg[ALL_PROMPTS].difference != 0 for row in frozen[1:])
    assert all(len(seeds) == 2 for row in found.rows for seeds in row.by_seed.values())
    written = json.loads((out / "ablations.json").read_text())
    assert written["seeds"] == [0, 1]
    assert [row["variant"] for row in written["rows"]] == list(rows)
    page = (out / "ablations.md").read_text()
    assert "earns its place?" in page
    assert str(out) not in page
    assert all(f"| {name} |" in page for name in rows)
    assert (out / "ablations.png").stat().st_size > 10_000
    assert "two refused" in text
    assert "\u2026" not in text  # nothing is cut short
    assert "two refused" not in shown(found, 100)
    assert "\u2026" not in shown(found, 100)
    assert VIOLATION in rows[DEFAULT].violation


def shown(found: AblationRun, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(ablations_table(found, width=width))
    return capture.get()


def test_intervals_are_over_users_with_the_mean_over_seeds_first() -> None:
    rng = np.random.default_rng(0)
    default = [rng.random(400) for _ in range(3)]
    better = [values + 0.02 * rng.standard_normal(400) + 0.01 for values in default]
    found = paired_difference(better, default)
    assert found.above
    assert found.low < found.difference < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.02 / np.sqrt(3 * 400), rel=0.2)
    assert paired_difference(default, better).below
    gap = [np.where(np.arange(400) < 10, np.nan, values) for values in default]
    assert paired_difference(gap, gap).mean == pytest.approx(np.mean([v[10:] for v in default]))
    with pytest.raises(ValueError, match="no user at all"):
        paired_difference([np.array([np.nan])], [np.array([0.5])])


@pytest.mark.parametrize(
    ("standard", "prompts", "violations", "expected"),
    [
        ((0, 0), (-0.02, -0.01), (-0.1, 0.1), "yes (without it worse: prompts)"),
        ((0, 0), (-0.02, 0.01), (-0.1, 0.1), "no"),
        ((0, 0), (0.01, 0.02), (-0.1, 0.1), "no (without it better: prompts)"),
        ((0, 0), (-0.02, 0.01), (0.01, 0.1), "yes (without it worse: violations)"),
        (
            (-0.02, -0.01),
            (0.01, 0.02),
            (-0.1, 0.1),
            "yes (without it worse: standard; without it better: prompts)",
        ),
    ],
)
def test_a_part_earns_its_place_if_doing_without_it_costs(
    standard: tuple[float, float],
    prompts: tuple[float, float],
    violations: tuple[float, float],
    expected: str,
) -> None:
    def difference(interval: tuple[float, float]) -> Difference:
        return Difference(0.1, 0.1, sum(interval) / 2, *interval)

    ndcg = {"standard": difference(standard), ALL_PROMPTS: difference(prompts)}
    assert earns_its_place(ndcg, {VIOLATION: difference(violations)}) == expected


def test_another_data_set_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="was trained on"):
        open_inputs(
            checkpoint, make_synthetic(n_users=30, n_items=20, n_tags=3), encoder_of(checkpoint), silent
        )


def test_a_missing_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["ablations", str(tmp_path), "--dataset", "synthetic", "--seeds", "0,1"]
    monkeypatch.setattr("sys.argv", ["dpr-bench", *argv])
    monkeypatch.setattr("dpr_bench.ablations.command.fetch_minilm", lambda _: tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "expected a checkpoint with config.json" in capsys.readouterr().err
