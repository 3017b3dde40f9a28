# Draws answers on a terminal with rich. Texts of a bundle are data: they are shown, never read as markup or
# controls.

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dpr_infer.cli.comparison import Comparison
from dpr_infer.items import ItemTable
from dpr_infer.prompt_text import Prompt, as_turns, spoken
from dpr_infer.types import Recommendation, Wish

_SIDE_BY_SIDE_COLUMNS = 100
_HISTORY_SHOWN = 6
_PLAIN_WIDTH = 120  # columns where the output is no terminal and COLUMNS is not set
_ASKED, _REFUSED, _FAINT, _HEADING = "bold green", "bold red", "dim", "bold"


def make_console() -> Console:
    """Return a console on stdout, wide enough for a table where nothing says how wide it is."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PLAIN_WIDTH
    return console


def visible(text: str) -> str:
    """Return a text with every character that does not print, such as an escape, replaced by U+FFFD."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def show_comparison(console: Console, comparison: Comparison, items: ItemTable) -> None:
    """Print the history, the rankings beside each other, and what the prompt was understood to say.

    Parameters
    ----------
    console : Console
        Where to print.
    comparison : Comparison
        The answers.
    items : ItemTable
        The bundle's items, for the titles of the history.
    """
    console.print()
    console.print(history_line([items.titles[items.row_of[i]] for i in comparison.history]))
    console.print(_rankings(comparison, console.width))
    console.print(_facts(comparison))


def history_line(titles: Sequence[str]) -> Text:
    """Return the newest titles of a history, in one line of text."""
    line = Text("History  ", style=_HEADING)
    if not titles:
        return line.append("none: a new user", style=_FAINT)
    newest = [visible(title) for title in titles[-_HISTORY_SHOWN:]]
    line.append(
        "" if len(titles) <= _HISTORY_SHOWN else f"... {len(titles) - _HISTORY_SHOWN} more · ", _FAINT
    )
    return line.append(" · ".join(newest), style="not bold")


def _rankings(comparison: Comparison, width: int) -> RenderableType:
    wishes = {} if comparison.steered is None else {wish.tag: wish for wish in comparison.steered.wishes}
    plain = ranking_table("Plain", comparison.plain, comparison.settings.k, wishes, None)
    if comparison.steered is None:
        return plain
    moves = move_texts(comparison)
    title = f"Steered · {visible(prompt_line(comparison.prompt))}"
    steered = ranking_table(title, comparison.steered, comparison.settings.k, wishes, moves)
    if width < _SIDE_BY_SIDE_COLUMNS:
        return Group(plain, steered)
    both = Table.grid(padding=(0, 1), expand=True)
    both.add_column(ratio=6)
    both.add_column(ratio=7)
    both.add_row(plain, steered)
    return both


def prompt_line(prompt: Prompt | None) -> str:
    """Return a prompt in one line, its turns joined by " + "."""
    return " + ".join(map(spoken, as_turns(prompt)))


def ranking_table(
    title: str, answer: Recommendation, k: int, wishes: dict[str, Wish], moves: Sequence[Text] | None
) -> Table:
    """Return one ranking as a table.

    Parameters
    ----------
    title : str
        Heading.
    answer : Recommendation
        The ranking.
    k : int
        Most items to show.
    wishes : dict of str to Wish
        Tags to colour, by name.
    moves : sequence of Text, or None
        What to show of each item's way here; None for no such column.
    """
    table = Table(
        title=Text(title, style=_HEADING, overflow="ellipsis", no_wrap=True),
        title_style=_HEADING,
        title_justify="left",
        header_style=_FAINT,
        border_style=_FAINT,
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        expand=True,
    )
    table.add_column("#", justify="right", min_width=2)
    if moves is not None:
        table.add_column("move", min_width=7, no_wrap=True)
    table.add_column("title", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("tags", ratio=1, no_wrap=True, overflow="ellipsis")
    for place, (name, tags) in enumerate(zip(answer.titles[:k], answer.tags[:k], strict=True)):
        move = [] if moves is None else [moves[place]]
        table.add_row(str(place + 1), *move, Text(visible(name)), _tags(tags, wishes))
    if not answer.titles:
        table.add_row("", *([] if moves is None else [""]), Text("no item is allowed", style=_FAINT), "")
    return table


def _tags(tags: Iterable[str], wishes: dict[str, Wish]) -> Text:
    return Text(", ").join(Text(visible(tag), style=_wish_style(wishes.get(tag))) for tag in tags)


def _wish_style(wish: Wish | None) -> str:
    if wish is None:
        return ""
    return _ASKED if wish.asked >= wish.refused else _REFUSED


def move_texts(comparison: Comparison) -> list[Text]:
    """Return, for each steered item, how far it moved against the plain ranking."""
    k = comparison.settings.k
    return [_move(rank, place, k) for place, rank in enumerate(comparison.plain_ranks(), start=1)]


def _move(plain_rank: int | None, place: int, k: int) -> Text:
    """Say how many places an item went up or down, and whether the plain list lacks it."""
    if plain_rank is None:
        return Text("new", style="cyan")
    if plain_rank > k:
        return Text.assemble(("new ", "cyan"), (f"↑{plain_rank - place}", "green"))
    if plain_rank == place:
        return Text("=", style=_FAINT)
    return (
        Text(f"↑{plain_rank - place}", "green")
        if plain_rank > place
        else Text(f"↓{place - plain_rank}", "yellow")
    )


def _facts(comparison: Comparison) -> RenderableType:
    """Return the lines below the rankings."""
    answer = comparison.plain if comparison.steered is None else comparison.steered
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style=_HEADING)
    grid.add_column()
    if comparison.steered is not None:
        grid.add_row("Understood", understood_line(answer.wishes))
        grid.add_row(
            "Gates", Text(" · ".join(f"{visible(n)} {g:.3f}" for n, g in answer.gates.items()) or "none")
        )
    for note in _notes(comparison, answer):
        grid.add_row("Note", Text(note, style="yellow"))
    times = answer.timings_ms or {}
    spent = " · ".join(f"{step.replace('_', ' ')} {ms:.2f}" for step, ms in times.items() if ms > 0)
    cached = " (prompt read before)" if answer.prompt_cached else ""
    grid.add_row("Time, ms", Text(spent + cached, style=_FAINT))
    return grid


def understood_line(wishes: Sequence[Wish]) -> Text:
    """Return what a prompt was understood to ask for and to refuse."""
    asked = [(w.tag, w.asked) for w in wishes if w.asked >= w.refused]
    refused = [(w.tag, w.refused) for w in wishes if w.asked < w.refused]
    parts = [
        Text.assemble(
            label, ", ".join(f"{visible(tag)} {strength:.2f}" for tag, strength in named), style=style
        )
        for label, named, style in (("asks for ", asked, _ASKED), ("refuses ", refused, _REFUSED))
        if named
    ]
    return Text(" · ").join(parts) if parts else Text("no tag of this catalogue", style=_FAINT)


def _notes(comparison: Comparison, answer: Recommendation) -> list[str]:
    notes = []
    if answer.prompt_truncated:
        kept = "its first words" if isinstance(comparison.prompt, str) else "its newest turns, cut,"
        notes.append(f"the prompt is longer than this bundle takes; {kept} were read")
    if answer.history_truncated:
        notes.append("the history is longer than this bundle takes; its newest items were read")
    if comparison.steered is not None and not any(answer.gates.values()):
        notes.append("the prompt opens no gate, so the ranking is the plain one")
    if len(answer.items) < comparison.settings.k:
        notes.append(f"only {len(answer.items)} items are allowed")
    return notes


def show_choices(console: Console, heading: str, choices: Iterable[Sequence[str]]) -> None:
    """Print a numbered list.

    Parameters
    ----------
    console : Console
        Where to print.
    heading : str
        What is listed.
    choices : iterable of sequence of str
        The columns of each line; the first is the name.
    """
    console.print(Rule(Text(heading), style=_FAINT, align="left"))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style=_FAINT)
    for number, columns in enumerate(choices, start=1):
        name, *rest = (visible(column) for column in columns)
        grid.add_row(
            str(number), Text(name, style=_HEADING, overflow="ellipsis"), *(Text(r, _FAINT) for r in rest)
        )
    console.print(grid)
