# The conversation of dpr-query: choose a user, then type prompt after prompt, or turns that add to one.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from rich.console import Console
from rich.text import Text

from dpr_infer.cli.comparison import Settings, compare
from dpr_infer.cli.history_choice import from_example, from_titles
from dpr_infer.cli.screen import show_choices, show_comparison, visible
from dpr_infer.errors import DprError, QueryError
from dpr_infer.recommender import Recommender

_HELP = """\
Type what you want, such as "something funny, no war films". An empty line shows the plain ranking.
  + but no cartoons   add a turn to the prompt so far
  :turns              show the turns of the prompt
  :history [user]     choose another user: number or name of an example, or titles "a; b"
  :where [expression] only items with these tags, such as: comedy & !war; without one, all items
  :strength NUMBER    how far prompts may move the ranking (0 not at all)
  :strict [on|off]    never show items with a tag that the prompt refuses
  :k NUMBER           how many items to show
  :settings           show what is set
  :help               this text
  :quit               leave (so does Ctrl-D)"""


class Session:
    """One conversation.

    Parameters
    ----------
    recommender : Recommender
        The opened bundle.
    console : Console
        Where to print.
    settings : Settings
        What to begin with.
    read : callable
        Asks for a line, given what to show before it; raises EOFError or KeyboardInterrupt to leave.
    """

    def __init__(
        self, recommender: Recommender, console: Console, settings: Settings, read: Callable[[str], str]
    ) -> None:
        self._recommender = recommender
        self._console = console
        self._settings = settings
        self._read = read
        self._history: tuple[str, ...] = ()
        self._turns: tuple[str, ...] = ()
        self._commands: dict[str, Callable[[str], None]] = {
            ":turns": lambda _: self._show_turns(),
            ":history": self._set_history,
            ":where": self._set_where,
            ":strength": self._set_strength,
            ":strict": self._set_strict,
            ":k": self._set_k,
            ":settings": lambda _: self._show_settings(),
            ":help": lambda _: self._console.print(_HELP, markup=False, highlight=False),
        }

    def run(self, history: tuple[str, ...] | None, prompt: str | None) -> None:
        """Converse until the user leaves.

        Parameters
        ----------
        history : tuple of str or None
            Item ids to begin with; None to ask for a user first.
        prompt : str or None
            A prompt to begin with.
        """
        try:
            if history is None:
                self._set_history("")
            else:
                self._history = history
            self._ask(() if prompt is None else (prompt,))
            self._console.print(Text(":help lists the commands", style="dim"))
            while (line := self._read("\nprompt> ").strip()) not in (":quit", ":q"):
                self._obey(line)
        except (EOFError, KeyboardInterrupt):
            self._console.print()
        self._console.print("Goodbye.")

    def _obey(self, line: str) -> None:
        if line.startswith("+ "):
            self._ask((*self._turns, line[1:].strip()))
            return
        if not line.startswith(":"):
            self._ask((line,) if line else ())
            return
        name, _, argument = line.partition(" ")
        command = self._commands.get(name)
        if command is None:
            self._complain(f"there is no command {visible(name)}; :help lists them")
            return
        try:
            command(argument.strip())
        except DprError as error:
            self._complain(str(error))

    def _ask(self, turns: tuple[str, ...]) -> None:
        """Answer, and keep the turns if they could be answered."""
        prompt = turns[0] if len(turns) == 1 else turns
        try:
            comparison = compare(self._recommender, self._history, prompt, self._settings)
        except DprError as error:
            self._complain(str(error))
        else:
            self._turns = turns
            show_comparison(self._console, comparison, self._recommender.items)

    def _complain(self, message: str) -> None:
        self._console.print(Text(visible(message), style="red"))

    def _set_history(self, text: str) -> None:
        if not text:
            self._show_users()
        while True:
            try:
                text = text or self._read(
                    "user (number, name, or titles separated by ;  -  Enter: a new user)> "
                )
                self._history = self._find_user(text.strip())
                break
            except QueryError as error:
                self._complain(str(error))
                text = ""
        titles = [self._recommender.items.titles[self._recommender.items.row_of[i]] for i in self._history]
        self._console.print(Text("Now: " + visible(" · ".join(titles) or "a new user"), style="dim"))

    def _find_user(self, text: str) -> tuple[str, ...]:
        if text.isdecimal() or text in self._recommender.examples:
            return from_example(text, self._recommender)
        return from_titles(text, self._recommender.items, self._pick)

    def _show_users(self) -> None:
        items = self._recommender.items
        lines = [
            (name, " · ".join(items.titles[items.row_of[i]] for i in history[-3:]) or "no history yet")
            for name, history in self._recommender.examples.items()
        ]
        if lines:
            show_choices(self._console, "Example users and what they saw last", lines)

    def _pick(self, title: str, rows: Sequence[int]) -> int | None:
        items = self._recommender.items
        show_choices(
            self._console,
            f"Which one is {visible(title)!r}?",
            [(items.titles[row], ", ".join(items.tags[row])) for row in rows],
        )
        answer = self._read(f"1-{len(rows)} (Enter: the first, 0: none)> ").strip() or "1"
        if not answer.isdecimal() or int(answer) > len(rows):
            raise QueryError(f"the choice must be a number from 0 to {len(rows)}; got {answer!r}")
        return rows[int(answer) - 1] if answer.strip("0") else None

    def _show_turns(self) -> None:
        if self._turns:
            show_choices(self._console, "Turns of the prompt", [(turn,) for turn in self._turns])
        else:
            self._console.print(Text("No prompt yet", style="dim"))

    def _set_where(self, text: str) -> None:
        self._adopt(replace(self._settings, where=text or None))

    def _set_strength(self, text: str) -> None:
        try:
            strength = float(text)
        except ValueError:
            raise QueryError(f":strength takes a number; got {text!r}") from None
        self._adopt(replace(self._settings, strength=strength))

    def _set_strict(self, text: str) -> None:
        if text not in ("", "on", "off"):
            raise QueryError(f":strict takes on or off; got {text!r}")
        self._adopt(replace(self._settings, steer="soft" if text == "off" else "strict"))

    def _set_k(self, text: str) -> None:
        if not text.isdecimal():
            raise QueryError(f":k takes a number from 1; got {text!r}")
        self._adopt(replace(self._settings, k=int(text)))

    def _adopt(self, settings: Settings) -> None:
        """Take settings over once a query has accepted them."""
        self._recommender.query((), None, **asdict(settings))
        self._settings = settings
        self._show_settings()

    def _show_settings(self) -> None:
        now = self._settings
        line = f"k {now.k} · strength {now.strength:g} · {now.steer} · where {now.where or '(all items)'}"
        self._console.print(Text(visible(line), style="dim"))
