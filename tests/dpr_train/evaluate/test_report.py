# Tables of results, for terminals and for Markdown.

from __future__ import annotations

import io

from rich.console import Console

from dpr_train.evaluate import ResultRow, results_markdown, results_table

ROWS = [
    ResultRow("standard", "backbone", "-", 1234, 0.12345, 0.00456, 0.5, 0.25, 0.75, None, None),
    ResultRow("negative", "steering", "unseen words", 7, 0.2, 0.01, 0.3, 0.1, 0.2, 0.0625, None),
    ResultRow("positive", "steering", "seen", 7, 0.2, 0.01, 0.3, 0.1, 0.2, None, 1.0),
]


def test_markdown() -> None:
    lines = results_markdown(ROWS).splitlines()
    assert lines[0].split(" | ")[4:8] == ["NDCG@10", "HR@10", "violation@10", "precision@10"]
    assert set(lines[1]) <= set("| -")
    assert {line.count("|") for line in lines} == {10}
    assert lines[2] == "| standard | backbone | - | 1234 | 0.1235 ± 0.0046 | 0.5000 | - | - | 0.2500 |"
    assert (
        lines[3]
        == "| negative | steering | unseen words | 7 | 0.2000 ± 0.0100 | 0.3000 | 0.062 | - | 0.1000 |"
    )
    assert results_markdown(ROWS).endswith("|\n")


def test_table_shows_every_cell_and_divides_tasks() -> None:
    table = results_table(ROWS, "tiny, test split")
    out = io.StringIO()
    Console(file=out, width=160).print(table)
    text = out.getvalue()
    assert "tiny, test split" in text
    for cell in ("standard", "0.1235 ± 0.0046", "unseen words", "0.062", "1.000", "NDCG@10 unmasked"):
        assert cell in text
    assert [row.end_section for row in table.rows] == [True, True, True]
    assert [row.end_section for row in results_table([ROWS[0]] * 2, "").rows] == [False, True]
