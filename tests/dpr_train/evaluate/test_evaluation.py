# A case small enough to work out by hand, on a stand-in model that obeys every prompt.

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from dpr_train.checkpoint import Checkpoint
from dpr_train.data import leave_one_out
from dpr_train.evaluate import ResultRow, Wording, evaluate, make_tasks
from dpr_train.prompts import Corpus, PromptGrammar, TagWords, Template
from tiny_model import tiny_dataset

N = 12
TAGS = ("alpha", "beta", "gamma")
MEMBERS = ({0, 1, 2, 3, 4, 5}, {6, 7, 8}, {8, 9, 10})  # 8 has two tags, 11 has none
MATRIX = np.array([[row in members for members in MEMBERS] for row in range(N)])
# The plain ranking of every user is 0, 1, ..., 11.
HISTORIES = [np.array(h, dtype=np.int64) for h in ([0, 1, 2], [3], [6, 7, 8, 6], [0, 1, 2, 3], [])]
TARGETS = np.array([7, 5, 8, 11, 9])


class Encoder:
    """Reads "no WORD" as a refusal of WORD and any other WORD as a wish for it."""

    def eval(self) -> None: ...

    def __call__(self, ids: Tensor, mask: Tensor, tag_embeddings: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        wish = torch.zeros(len(ids), len(TAGS), 2)
        for row, line in enumerate(ids.tolist()):
            for before, token in zip([0, *line], line, strict=False):
                if token >= 2:
                    wish[row, token - 2, int(before == 1)] = 1
        return torch.zeros(*ids.shape, 1), wish, torch.zeros(len(ids), len(TAGS))


def obedient_model() -> SimpleNamespace:
    """Adds 100 to whatever is asked for and takes 100 from whatever is refused."""
    tags = torch.from_numpy(MATRIX.astype(np.float32))

    def plain(users: Tensor) -> Tensor:
        return -torch.arange(N).float().repeat(len(users), 1)

    class Backbone:
        max_history = 4

        def parameters(self) -> Iterator[Tensor]:
            return iter([tags])

        logits = staticmethod(plain)

        def eval(self) -> None: ...

        def __call__(self, items: Tensor) -> Tensor:
            return torch.zeros(len(items), 1)

    def steered(user: Tensor, tokens: Tensor, mask: Tensor, wish: Tensor, items: Tensor) -> Tensor:
        return plain(user) + 100 * (wish[..., 0] - wish[..., 1]) @ tags.T

    return SimpleNamespace(
        eval=lambda: None,
        config=SimpleNamespace(tags=TAGS),
        carries=MATRIX,
        tag_embeddings=torch.zeros(3, 1),
        item_vectors=lambda: torch.zeros(N, 1),
        backbone=Backbone(),
        prompt_encoder=Encoder(),
        steered=steered,
    )


def measure() -> dict[tuple[str, str], ResultRow]:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "no": 1, "alpha": 2, "beta": 3, "gamma": 4}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = {"ask": "{tag} please", "refuse": "no {tag}", "compound": "{yes} but no {no}", "neutral": "hi"}
    templates = {kind: (Template(text, kind),) for kind, text in texts.items()}
    corpus = Corpus(templates, {tag: TagWords((tag,)) for tag in TAGS}, {})
    rows = evaluate(
        obedient_model(),
        tokenizer,
        HISTORIES,
        TARGETS,
        seed=0,
        wordings=[Wording("hand-made", PromptGrammar(corpus, TAGS))],
    )
    return {(row.task, row.system): row for row in rows}


def gains(*ranks: int) -> float:
    """Mean NDCG@10 of targets at these places, counted from 0."""
    return float(np.mean([1 / np.log2(rank + 2) if rank < 10 else 0 for rank in ranks]))


def test_tasks_take_the_users_that_have_such_a_wish() -> None:
    tasks = {task.name: task for task in make_tasks(HISTORIES, TARGETS, MATRIX)}
    assert list(tasks) == ["standard", "positive", "negative", "compound"]
    assert {name: task.users.tolist() for name, task in tasks.items()} == {
        "standard": [0, 1, 2, 3, 4],
        "positive": [0, 1, 2, 4],  # user 3's target has no tag
        "negative": [0, 3],  # the others have no habit, or the target keeps to it
        "compound": [0],
    }
    assert tasks["positive"].asked.tolist() == [1, 0, 2, 2]  # user 2 is used to beta, so gamma it is
    assert tasks["positive"].refused.tolist() == [-1] * 4
    assert tasks["negative"].refused.tolist() == [0, 0]
    assert (tasks["compound"].asked.tolist(), tasks["compound"].refused.tolist()) == ([1], [0])


def test_the_rows_come_by_task_then_system() -> None:
    systems = ["backbone", "exact filter", "steering"]
    expected = [("standard", "backbone")]
    expected += [(task, system) for task in ("positive", "negative", "compound") for system in systems]
    assert list(measure()) == expected


def test_standard() -> None:
    row = measure()["standard", "backbone"]
    # User 2's target lies in the history: masked, it can't be found.
    masked = [4, 4, 12, 7, 9]
    assert row.queries == 5
    assert row.ndcg == pytest.approx(gains(*masked))
    assert row.hr == pytest.approx(4 / 5)
    assert row.ndcg_se == pytest.approx(np.std([gains(r) for r in masked], ddof=1) / np.sqrt(5))
    assert row.ndcg_unmasked == pytest.approx(gains(7, 5, 8, 11, 9))
    assert row.hr_unmasked == pytest.approx(4 / 5)
    assert row.ndcg != pytest.approx(row.ndcg_unmasked)
    assert row.violation is row.precision is None


def test_positive() -> None:
    rows = measure()
    plain, exact, steered = (rows["positive", system] for system in ("backbone", "exact filter", "steering"))
    assert plain.ndcg == pytest.approx(gains(4, 4, 12, 9))
    # Nine items are left to users 0 and 2, eleven to user 1, twelve to user 4.
    assert plain.precision == pytest.approx(np.mean([3 / 9, 5 / 10, 2 / 9, 2 / 10]))
    assert exact.ndcg == pytest.approx(gains(1, 4, 12, 1))
    assert exact.ndcg_unmasked == pytest.approx(gains(1, 5, 0, 1))
    assert exact.precision == 1.0
    assert steered.ndcg == pytest.approx(exact.ndcg)
    assert steered.precision == pytest.approx(
        np.mean([3 / 9, 5 / 10, 2 / 9, 3 / 10])
    )  # what is asked for comes first
    assert plain.violation is exact.violation is steered.violation is None


def test_negative() -> None:
    rows = measure()
    plain, exact, steered = (rows["negative", system] for system in ("backbone", "exact filter", "steering"))
    assert plain.ndcg == pytest.approx(gains(4, 7))
    assert plain.violation == pytest.approx(np.mean([3 / 9, 2 / 8]))
    assert exact.ndcg == steered.ndcg == pytest.approx(gains(1, 5))
    assert exact.violation == 0.0
    assert steered.violation == pytest.approx(np.mean([3 / 9, 2 / 8]))  # last, but there is nothing else left
    assert plain.precision is exact.precision is steered.precision is None


def test_compound() -> None:
    rows = measure()
    exact, steered = rows["compound", "exact filter"], rows["compound", "steering"]
    assert exact.ndcg == steered.ndcg == pytest.approx(gains(1))
    assert (exact.violation, exact.precision) == (0.0, 1.0)
    assert exact.ndcg_se == 0.0  # one query
    assert exact.wording == "-"
    assert steered.wording == "hand-made"


def test_a_checkpoint_scores_as_when_it_was_made(checkpoint: Checkpoint) -> None:
    split = leave_one_out(tiny_dataset().sequences)
    histories = [split.test_history(user) for user in range(len(split))]
    rows = evaluate(checkpoint.model, checkpoint.tokenizer, histories, split.test, seed=0)
    assert [row.as_dict() for row in rows] == checkpoint.training["metrics"]["test"]
