# Whose history: another example, nobody's, one's own; and the view in the URL.

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")


def strip(page: Any) -> list[str]:
    return [text.splitlines()[0] for text in page.locator("#strip li").all_inner_texts()]


def history_asked(page: Any, act: Callable[[], object]) -> list[str]:
    with page.expect_response("**/v1/recommend") as answer:
        act()
    return answer.value.request.post_data_json["history"]


def find(page: Any, text: str) -> None:
    page.get_by_label("Add a title").fill(text)
    page.locator("[role=option]").first.wait_for()


def test_another_example(page: Any, api: Any) -> None:
    second = api.examples()[1]
    profile = page.get_by_label("Recommending for")
    asked = history_asked(page, lambda: profile.select_option(index=1))
    assert asked == [item["id"] for item in second["items"]]
    assert strip(page) == [item["title"] for item in second["items"]][::-1]


def test_a_new_user_builds_a_history(page: Any, api: Any) -> None:
    profile = page.get_by_label("Recommending for")
    assert history_asked(page, lambda: profile.select_option("new")) == []
    page.get_by_role("button", name="Add a first title").click()
    wanted = api.get("v1/items?q=film+7&limit=8")["items"]
    find(page, "film 7")
    assert page.locator("[role=option] .found-title").all_inner_texts() == [item["title"] for item in wanted]
    assert history_asked(page, page.locator("[role=option]").nth(1).click) == [wanted[1]["id"]]
    find(page, "film 7")
    both = history_asked(page, page.locator("[role=option]").first.click)
    assert both == [wanted[1]["id"], wanted[0]["id"]]
    assert strip(page) == [wanted[0]["title"], wanted[1]["title"]]
    assert profile.locator("option:checked").inner_text() == "a history of your own: 2 titles"
    remove = page.get_by_role("button", name=f"Remove {wanted[1]['title']} from the history")
    assert history_asked(page, remove.click) == [wanted[0]["id"]]
    assert history_asked(page, page.get_by_role("button", name="Remove all").click) == []


def test_a_search_that_finds_nothing_says_so(page: Any) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Edit history").click()
    page.get_by_label("Add a title").fill("zzzz")
    expect(page.get_by_text("No title has “zzzz” in it.")).to_be_visible()
    assert page.get_by_role("listbox").is_hidden()


def test_an_example_that_is_edited_becomes_ones_own(page: Any, api: Any) -> None:
    items = api.examples()[0]["items"]
    page.get_by_role("button", name="Edit history").click()
    remove = page.get_by_role("button", name=f"Remove {items[-1]['title']} from the history")
    assert history_asked(page, remove.click) == [item["id"] for item in items[:-1]]
    chosen = page.get_by_label("Recommending for").locator("option:checked")
    assert chosen.inner_text().startswith("a history of your own: ")


def test_a_view_can_be_shared(page: Any, new_page: Callable[..., Any], say: Any) -> None:
    page.get_by_label("Recommending for").select_option(index=1)
    say(page, "no comedy & <b>war</b>")
    say(page, "drama")
    page.get_by_label("Strict: never shown").check()
    page.get_by_role("button", name="Take back Drama").click()
    page.wait_for_url("**strict**")
    other = new_page()
    with other.expect_response("**/v1/recommend") as answer:
        other.goto(page.url)
    asked = answer.value.request.post_data_json
    assert asked["prompt"] == ["no comedy & <b>war</b>", "drama", {"Drama": "release"}]
    assert asked["steer"] == "strict"
    assert strip(other) == strip(page)


def test_ones_own_history_can_be_shared(new_page: Callable[..., Any], server: str, api: Any) -> None:
    known = api.get("v1/items?q=film+3&limit=2")["items"]
    page = new_page()
    ids = quote(f'["{known[0]["id"]}", "no such item", "{known[1]["id"]}"]')
    with page.expect_response("**/v1/recommend") as answer:
        page.goto(f"{server}#h={ids}")
    assert answer.value.request.post_data_json["history"] == [item["id"] for item in known]
    page.get_by_text("1 title of the history that the link names could not be had").wait_for()


@pytest.mark.parametrize(
    "garbage",
    [
        "u=nobody",
        "u=user+0&t=%5B1,null,%5B%5D,%7B%7D,%7B%22War%22:%22x%22%7D%5D&s=7&k=3&steer=hard&show=all",
        "h=%7B%7D&s=NaN&t=nonsense",
        "%E0%A4%A&=&&u",
        "t=%5B%22no+comedy%22%5D",
    ],
)
def test_a_hash_that_makes_no_sense_is_passed_over(
    new_page: Callable[..., Any], server: str, garbage: str
) -> None:
    page = new_page()
    with page.expect_response("**/v1/recommend") as answer:
        page.goto(f"{server}#{garbage}")
    asked = answer.value.request.post_data_json
    assert (asked["prompt"], asked["strength"], asked["k"], asked["steer"]) == (None, 1, 10, "soft")
    page.locator(".steered .row:not(.blank)").first.wait_for()
