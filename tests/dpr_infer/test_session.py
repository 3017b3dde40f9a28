# The conversation of dpr-query, with typed lines in and a screen of text out.

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dpr_infer.cli.comparison import Settings
from dpr_infer.cli.session import Session


@pytest.fixture
def talk(recommender):
    """Hold a conversation and return all that was printed."""

    def hold(*lines, history=None, prompt=None, leave=EOFError):
        screen, typed = io.StringIO(), iter(lines)

        def read(question):
            screen.write(question)
            try:
                return next(typed)
            except StopIteration:
                raise leave from None

        Session(recommender, Console(file=screen, width=120), Settings(k=3), read).run(history, prompt)
        return screen.getvalue()

    return hold


@pytest.mark.parametrize("leave", [EOFError, KeyboardInterrupt])
def test_leaving_is_polite_at_any_point(talk, leave):
    for lines in ([], ["1"], ["1", "comedy"], ["1", ":history"]):
        assert talk(*lines, leave=leave).rstrip().endswith("Goodbye.")
    assert talk("1", ":quit", "comedy").count("Steered") == 0


def test_users_are_listed_and_chosen_by_number_name_or_titles(talk):
    for choice in ("2", "user 1"):
        screen = talk(choice)
        assert "3  user 2  Film 6" in screen
        assert "Now: Film 1 (1951) · Film 2 (1952)" in screen
    assert "Now: Film 39 (1989) · Film 38 (1988)" in talk("film 39; 1988 film")
    assert "Now: a new user" in talk("")
    assert "example must be one of this bundle's 3" in talk("9", "1")
    assert "nothing is like 'qqqqqq'" in talk("qqqqqq", "1")


def test_titles_that_match_several_items_are_asked_about(talk):
    assert "Now: Film 12 (1962)" in talk("film 1", "4")
    assert "Now: Film 1 (1951)" in talk("film 1", "")
    assert "Now: Film 39 (1989)" in talk("film 1; film 39", "0")
    assert "must be a number from 0 to 10; got '99'" in talk("film 1", "99", "1")


def test_prompt_after_prompt(talk):
    screen = talk("1", "comedy", "no comedy", "")
    assert "asks for Comedy" in screen
    assert "refuses Comedy" in screen
    assert screen.count("Plain") == 4


def test_turns_add_to_the_prompt_so_far(talk):
    screen = talk("1", "comedy", "+ no war", ":turns", "+ whatever comedy", ":turns", "drama", ":turns")
    assert "Steered · comedy + no war" in screen
    assert "asks for Comedy 1.00 · refuses War 1.00" in screen
    assert "Steered · comedy + no war + whatever comedy" in screen
    assert screen.count("1  comedy") == screen.count("2  no war") == 2
    assert screen.count("1  drama") == 1
    assert "longer than this bundle takes; its newest turns, cut, were read" in talk(
        "1", "comedy", "+ war" + " film" * 9
    )


def test_turns_begin_with_the_first_and_end_with_an_empty_line(talk):
    assert "No prompt yet" in talk("1", ":turns")
    assert "Steered · comedy" in talk("1", "+ comedy")
    assert "Steered · war + comedy" in talk("+ comedy", history=(), prompt="war")
    assert "No prompt yet" in talk("1", "comedy", "", ":turns")


def test_a_turn_that_cannot_be_read_is_not_kept(talk):
    screen = talk("1", "comedy", "+ a\x00b", "+ no war", ":turns")
    assert "prompt[1] must not hold control characters" in screen
    assert "Steered · comedy + no war" in screen


def test_given_history_and_prompt_start_at_once(talk):
    screen = talk(history=("i100",), prompt="comedy")
    assert "Example users" not in screen
    assert "Steered · comedy" in screen


def test_settings_change_by_command_and_only_to_what_works(talk):
    screen = talk("1", ":where war", ":k 5", ":strict", ":strength 0.5", ":settings", ":strict off", ":where")
    assert "k 5 · strength 0.5 · strict · where war" in screen
    assert "k 5 · strength 0.5 · soft · where (all items)" in screen
    for command, message in {
        ":where horror": "'horror' is none",
        ":strength much": "takes a number",
        ":strength -1": "must be finite and >= 0",
        ":k 0": "at least 1",
        ":k x": "takes a number",
        ":strict maybe": "takes on or off",
        ":dance": "no command :dance",
    }.items():
        screen = talk("1", command, ":settings")
        assert message in screen
        assert "k 3 · strength 1 · soft · where (all items)" in screen


def test_filters_take_effect(talk):
    screen = talk("1", ":where war & !war", "comedy")
    assert "no item is allowed" in screen


def test_help_names_every_command(talk, recommender):
    screen = talk("1", ":help")
    for command in Session(recommender, Console(), Settings(), input)._commands:
        assert command in screen


def test_bad_prompt_does_not_end_the_conversation(talk):
    screen = talk("1", "a\x00b", "comedy")
    assert "control characters" in screen
    assert "Steered · comedy" in screen
