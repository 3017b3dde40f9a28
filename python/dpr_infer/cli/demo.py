# The demonstration: one user of the bundle, three prompts, what each does to the ranking, and how fast.
# The prompts are made from the user's own tags, so it works for any bundle with examples.

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dpr_infer.cli.comparison import Comparison, Settings, compare
from dpr_infer.cli.history_choice import from_example
from dpr_infer.cli.screen import (
    history_line,
    move_texts,
    prompt_line,
    ranking_table,
    understood_line,
    visible,
)
from dpr_infer.errors import QueryError
from dpr_infer.recommender import Recommender
from dpr_infer.types import Recommendation

_RECENT = 10  # newest items that make a habit
_CACHED_RUNS, _FRESH_RUNS = 200, 20


@dataclass(frozen=True, slots=True)
class DemoPrompt:
    """A prompt, and the tags that a right answer has (`asked`) and lacks (`refused`); None for no such tag."""

    text: str
    asked: str | None
    refused: str | None

    def obeyed(self, tags: list[str]) -> bool:
        """Tell whether an item with these tags is what the prompt wants."""
        return (self.asked is None or self.asked in tags) and self.refused not in tags


def show_demo(console: Console, recommender: Recommender, example: str | None, settings: Settings) -> None:
    """Print a user's recent items, the plain ranking, and the ranking under three prompts.

    Parameters
    ----------
    console : Console
        Where to print.
    recommender : Recommender
        The opened bundle.
    example : str or None
        Name or number of an example; None for the first.
    settings : Settings
        The options of the queries.

    Raises
    ------
    QueryError
        If the bundle has no example, or its tags are too few to make prompts from.
    """
    if not recommender.examples:
        raise QueryError("--demo needs a bundle with examples; this one has none")
    name = next(iter(recommender.examples)) if example is None else example
    history = from_example(name, recommender)
    prompts = _prompts(recommender, history)
    comparisons = [compare(recommender, history, prompt.text, settings) for prompt in prompts]
    titles = [recommender.items.titles[recommender.items.row_of[i]] for i in history]
    console.print()
    console.print(Text.assemble((visible(name), "bold"), ", a real user of this bundle's data. Newest last:"))
    console.print(history_line(titles))
    tables = [ranking_table("No prompt", comparisons[0].plain, settings.k, {}, None)]
    tables += [_steered_table(comparison) for comparison in comparisons]
    for left, right in zip(tables[::2], tables[1::2], strict=True):
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(left, right)
        console.print(grid)
    console.print(_summary(recommender, prompts, comparisons, settings))
    console.print(_latency(recommender, history, prompts[-1].text))


def _steered_table(comparison: Comparison) -> Table:
    assert comparison.steered is not None
    wishes = {wish.tag: wish for wish in comparison.steered.wishes}
    title = f"“{prompt_line(comparison.prompt)}”"
    return ranking_table(title, comparison.steered, comparison.settings.k, wishes, move_texts(comparison))


def _prompts(recommender: Recommender, history: tuple[str, ...]) -> list[DemoPrompt]:
    """One prompt that asks, one that refuses, one that does both, against the user's habit."""
    items, known = recommender.items, set(recommender.manifest.tags)
    recent = Counter(t for i in history[-_RECENT:] for t in items.tags[items.row_of[i]] if t in known)
    everywhere = Counter(t for tags in items.tags for t in tags if t in known)
    rare = [tag for tag, _ in everywhere.most_common() if recent[tag] <= 1]
    if not recent or not rare:
        raise QueryError("--demo needs an example whose newest items have some tags and lack others")
    refused, asked = recent.most_common(1)[0][0], rare[0]
    return [
        DemoPrompt(f"I'm in the mood for {asked.lower()}", asked, None),
        DemoPrompt(f"please, no {refused.lower()} tonight", None, refused),
        DemoPrompt(f"{asked.lower()}, but no {refused.lower()}", asked, refused),
    ]


def _share(prompt: DemoPrompt, answer: Recommendation, k: int) -> str:
    tags = answer.tags[:k]
    return f"{sum(prompt.obeyed(t) for t in tags)} of {len(tags)}"


def _summary(
    recommender: Recommender, prompts: list[DemoPrompt], comparisons: list[Comparison], settings: Settings
) -> Table:
    """What each prompt was understood to say, and how much of the top k obeys it, by the items' true tags."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in (
        "prompt",
        "understood",
        f"top {settings.k} that obeys: before",
        "after",
        f"all {len(recommender.examples)} example users: before",
        "after",
    ):
        table.add_column(heading)
    for prompt, comparison in zip(prompts, comparisons, strict=True):
        assert comparison.steered is not None
        before, after = _shares_of_examples(recommender, prompt, settings)
        table.add_row(
            visible(prompt.text),
            understood_line(comparison.steered.wishes),
            _share(prompt, comparison.plain, settings.k),
            Text(_share(prompt, comparison.steered, settings.k), style="bold"),
            before,
            Text(after, style="bold"),
        )
    return table


def _shares_of_examples(recommender: Recommender, prompt: DemoPrompt, settings: Settings) -> tuple[str, str]:
    """Share of all examples' top k that obeys, without and with the prompt, as percentages."""
    histories = list(recommender.examples.values())
    shares = []
    for text in (None, prompt.text):
        answers = recommender.query_batch(histories, text, settings.k)
        obeyed = [prompt.obeyed(tags) for answer in answers for tags in answer.tags]
        shares.append(f"{100 * sum(obeyed) / max(1, len(obeyed)):.0f} %")
    return shares[0], shares[1]


def _latency(recommender: Recommender, history: tuple[str, ...], prompt: str) -> Padding:
    """Median time of a whole query, with the prompt in the cache and never seen before."""
    cached = _median_ms(recommender, history, [prompt] * _CACHED_RUNS)
    fresh = _median_ms(recommender, history, [f"{prompt} {number}" for number in range(_FRESH_RUNS)])
    text = Text.assemble(
        "A query over all ",
        f"{len(recommender.items.titles):,} items, median: ",
        (f"{cached:.2f} ms", "bold"),
        " with the prompt in the cache, ",
        (f"{fresh:.2f} ms", "bold"),
        " without (history and prompt encoded, scored, ranked; this machine, now).",
    )
    return Padding(text, (1, 0))


def _median_ms(recommender: Recommender, history: tuple[str, ...], prompts: list[str]) -> float:
    times = []
    for prompt in prompts:
        begun = perf_counter()
        recommender.query(history, prompt)
        times.append(perf_counter() - begun)
    return 1e3 * median(times)
