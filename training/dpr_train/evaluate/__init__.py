"""Evaluation of promptable recommendation: tasks, wordings, metrics, tables."""

from dpr_train.evaluate.evaluation import ResultRow, evaluate
from dpr_train.evaluate.queries import TASKS, TaskQueries, Wording, make_tasks, make_wordings, queries_of
from dpr_train.evaluate.report import results_markdown, results_table
from dpr_train.metrics import hit_rate, ndcg, target_rank, top_rows

__all__ = [
    "TASKS",
    "ResultRow",
    "TaskQueries",
    "Wording",
    "evaluate",
    "hit_rate",
    "make_tasks",
    "make_wordings",
    "ndcg",
    "queries_of",
    "results_markdown",
    "results_table",
    "target_rank",
    "top_rows",
]
