# The main path without a pointer, and where the focus is.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")

NAME = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText"
OUTLINE = """() => {
  const node = document.activeElement;
  const shown = [node, node.parentElement, node.nextElementSibling].filter(Boolean).map((n) => getComputedStyle(n));
  return shown.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2);
}"""
FIRST = "Skip to the prompt"
MOST_TABS = 80


def tab_to(page: Any, name: str, key: str = "Tab") -> None:
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        if page.evaluate(NAME).strip() == name:
            return
    raise AssertionError(f"no {name!r} within {MOST_TABS} steps of {key}")


def asked(page: Any, key: str) -> dict[str, Any]:
    with page.expect_response("**/v1/recommend") as answer:
        page.keyboard.press(key)
    return answer.value.request.post_data_json


def settled(page: Any) -> None:
    page.locator("#lists[aria-busy=false]").wait_for()


def test_the_main_path(page: Any) -> None:
    page.keyboard.type("no comedy")
    assert asked(page, "Enter")["prompt"] == ["no comedy"]
    settled(page)
    tab_to(page, "Ask for Comedy instead")
    assert asked(page, "Enter")["prompt"] == ["no comedy", {"Comedy": "ask"}]
    settled(page)
    # The chip changed under the focus, which is now on its like.
    assert page.evaluate(NAME) == "Refuse Comedy instead"
    tab_to(page, "Take back Comedy")
    assert asked(page, "Space")["prompt"][-1] == {"Comedy": "release"}
    settled(page)
    assert page.evaluate("document.activeElement !== document.body")
    tab_to(page, "Remove turn 3: take back Comedy", "Shift+Tab")
    assert len(asked(page, "Enter")["prompt"]) == 2
    settled(page)
    tab_to(page, "Start over", "Shift+Tab")
    assert asked(page, "Enter")["prompt"] is None


def test_settings(page: Any) -> None:
    page.get_by_label("Strength").focus()
    assert asked(page, "End")["strength"] == 2
    page.keyboard.press("Tab")
    assert asked(page, "ArrowRight")["steer"] == "strict"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    page.locator(".plain").wait_for(state="hidden")
    page.keyboard.press("Tab")
    assert asked(page, "ArrowDown")["k"] == 20


def test_the_combobox(page: Any) -> None:
    tab_to(page, "Edit history", "Shift+Tab")
    page.keyboard.press("Enter")
    search = page.get_by_role("combobox", name="Add a title")
    assert search.evaluate("node => node === document.activeElement")
    page.keyboard.type("film 7")
    options = page.get_by_role("listbox").get_by_role("option")
    options.first.wait_for()
    assert search.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowUp")
    last = options.last
    assert search.get_attribute("aria-activedescendant") == last.get_attribute("id")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert [option.get_attribute("aria-selected") for option in options.all()].index("true") == 1
    page.keyboard.press("Escape")
    page.get_by_role("listbox").wait_for(state="hidden")
    assert search.input_value() == "film 7"
    page.keyboard.press("ArrowDown")
    options.first.wait_for()
    page.keyboard.press("ArrowDown")
    title = options.first.locator(".found-title").inner_text()
    assert len(asked(page, "Enter")["history"]) == 6
    assert search.input_value() == ""
    tab_to(page, f"Remove {title} from the history")
    assert len(asked(page, "Enter")["history"]) == 5
    assert page.evaluate(NAME).startswith("Remove ")


def test_the_focus_is_seen_wherever_it_goes(page: Any, say: Callable[..., Any]) -> None:
    say(page, "no comedy")
    settled(page)
    tab_to(page, FIRST, "Shift+Tab")
    seen = []
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        assert page.evaluate(OUTLINE), page.evaluate("document.activeElement.outerHTML")
        seen.append(page.evaluate(NAME).strip())
    assert seen[0] == "Dark colours"
    assert "Take back Comedy" in seen
    assert seen[-1] == "API documentation"


def test_the_first_stop_skips_to_the_prompt(page: Any) -> None:
    tab_to(page, FIRST, "Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement === document.body")  # nothing came before
    page.keyboard.press("Tab")
    assert page.evaluate(NAME) == FIRST
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "prompt"
