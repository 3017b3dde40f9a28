# The page in Chromium: say something, see the list change, take things back.

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")

STEERED = ".steered .rows:not(.ghosts) .row"
PLAIN = ".plain .rows:not(.ghosts) .row"
Say = Callable[[Any, str], dict[str, Any]]


def titles(page: Any, rows: str) -> list[str]:
    return page.locator(f"{rows} .title").all_inner_texts()


def titles_of(items: list[dict[str, Any]]) -> list[str]:
    return [item["title"] for item in items]


def expect_list(page: Any, rows: str, items: list[dict[str, Any]]) -> None:
    from playwright.sync_api import expect

    expect(page.locator(f"{rows} .title")).to_have_text(titles_of(items))


def chips(page: Any) -> list[str]:
    return page.locator(".chip .chip-text").all_inner_texts()


def asks(page: Any, act: Callable[[], object]) -> dict[str, Any]:
    """What the page asked the server when `act` was done."""
    with page.expect_response("**/v1/recommend") as answer:
        act()
    return answer.value.request.post_data_json


def test_it_opens_with_an_example_user_and_two_equal_lists(page: Any, api: Any) -> None:
    example = api.examples()[0]
    assert (
        page.get_by_label("Recommending for")
        .locator("option:checked")
        .inner_text()
        .startswith(example["name"])
    )
    assert page.locator("#strip li").all_inner_texts() == titles_of(example["items"])[::-1]
    expect_list(page, PLAIN, api.recommend()["items"])
    expect_list(page, STEERED, api.recommend()["items"])
    assert page.locator(".move").count() == 0
    assert page.evaluate("document.activeElement.id") == "prompt"
    assert page.locator(".suggestion").count() >= 3


def test_a_prompt_steers_and_each_item_says_why(page: Any, api: Any, say: Say) -> None:
    say(page, "comedy and no war")
    answer = api.recommend(["comedy and no war"])
    expect_list(page, STEERED, answer["items"])
    expect_list(page, PLAIN, answer["plain"])
    assert titles_of(answer["items"]) != titles_of(answer["plain"])
    for row, item in zip(page.locator(STEERED).all(), answer["items"], strict=True):
        assert [tag.inner_text() for tag in row.locator(".tag.asked s, .tag.refused s").all()] == item[
            "refused"
        ]
        assert row.locator(".tag.asked").count() == len(item["asked"])
        moved = item["plain_rank"] - int(row.locator(".rank").inner_text())
        shown = f"▲{moved}" if moved > 0 else f"▼{-moved}" if moved < 0 else "="
        assert row.locator(".move [aria-hidden]").inner_text() == shown
    assert {chip.splitlines()[-1][-3:] for chip in chips(page)} == {"edy", "War"}
    assert page.locator(".turn-text").all_inner_texts() == ["comedy and no war"]


def test_a_suggestion_is_a_turn(page: Any) -> None:
    first = page.locator(".suggestion").first
    text = first.inner_text()
    assert asks(page, first.click)["prompt"] == [text]
    page.locator(".chip").first.wait_for()


def test_a_chip_is_taken_back_by_an_exact_turn(page: Any, api: Any, say: Say) -> None:
    say(page, "no comedy")
    asked = asks(page, page.get_by_role("button", name="Take back Comedy").click)
    assert asked["prompt"] == ["no comedy", {"Comedy": "release"}]
    expect_list(page, STEERED, api.recommend()["items"])
    assert chips(page) == []
    assert page.locator(".turn-text").all_inner_texts() == ["no comedy", "take back Comedy"]


def test_a_chip_is_flipped_by_an_exact_turn(page: Any, api: Any, say: Say) -> None:
    say(page, "no comedy")
    asked = asks(page, page.get_by_role("button", name="Ask for Comedy instead").click)
    assert asked["prompt"] == ["no comedy", {"Comedy": "ask"}]
    expect_list(page, STEERED, api.recommend(["no comedy", {"Comedy": "ask"}])["items"])
    page.get_by_role("button", name="Refuse Comedy instead").wait_for()
    assert page.locator(".chip.asked").count() == 1


def test_turns_go_one_by_one_and_all_at_once(page: Any, say: Say) -> None:
    say(page, "no comedy")
    say(page, "war")
    say(page, "no drama")
    remove = page.get_by_role("button", name="Remove turn 2: war")
    assert asks(page, remove.click)["prompt"] == ["no comedy", "no drama"]
    assert asks(page, page.get_by_role("button", name="Start over").click)["prompt"] is None
    page.locator("#conversation").wait_for(state="hidden")


def test_the_back_button_takes_the_last_step_back(page: Any, api: Any, say: Say) -> None:
    say(page, "no comedy")
    asks(page, page.go_back)
    expect_list(page, STEERED, api.recommend()["items"])
    assert page.locator("#conversation").is_hidden()


def test_the_list_moves_to_its_new_order(page: Any, say: Say) -> None:
    page.evaluate(
        """() => {
          window.moves = [];
          const animate = Element.prototype.animate;
          Element.prototype.animate = function (frames, options) {
            window.moves.push([this.className, JSON.stringify(frames)]);
            return animate.call(this, frames, options);
          };
        }"""
    )
    say(page, "no comedy")
    page.locator(".steered .move").first.wait_for()
    moves = page.evaluate("window.moves")
    assert any("row" in name and "translateY" in frames for name, frames in moves)
    assert page.locator(".slopes path").count() >= 10


def test_strict_never_shows_what_is_refused(page: Any, api: Any, say: Say) -> None:
    say(page, "no comedy")
    assert asks(page, page.get_by_label("Strict: never shown").check)["steer"] == "strict"
    expect_list(page, STEERED, api.recommend(["no comedy"], steer="strict")["items"])
    assert page.locator(f"{STEERED} .tag.refused").count() == 0


def test_the_slider_asks_when_it_rests(page: Any, api: Any, say: Say) -> None:
    say(page, "no comedy")
    strengths: list[float] = []
    page.on("request", lambda request: strengths.extend(_strength(request)))
    drag = """(slider) => {
      for (let value = 1.05; value < 1.525; value += 0.05) {
        slider.value = value;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }"""
    asked = asks(page, lambda: page.get_by_label("Strength").evaluate(drag))
    assert asked["strength"] == 1.5
    assert strengths == [1.5]
    assert page.locator("#strength-value").inner_text() == "1.50"
    expect_list(page, STEERED, api.recommend(["no comedy"], strength=1.5)["items"])


def _strength(request: Any) -> list[float]:
    return [request.post_data_json["strength"]] if request.url.endswith("v1/recommend") else []


def test_the_latest_question_wins(page: Any, api: Any, say: Say) -> None:
    held = []

    def hold_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    dropped: list[Any] = []
    page.route("**/v1/recommend", hold_first)
    page.on("requestfailed", lambda request: dropped.append(request.post_data_json["prompt"]))
    prompt = page.get_by_label("Say what you want")
    prompt.fill("no comedy")
    prompt.press("Enter")
    say(page, "war")
    assert dropped == [["no comedy"]]
    expect_list(page, STEERED, api.recommend(["no comedy", "war"])["items"])
    assert page.locator("#notice").inner_text() == ""


def test_the_steered_list_alone_and_its_length(page: Any, say: Say) -> None:
    say(page, "no comedy")
    page.get_by_label("Steered alone").check()
    assert page.locator(".plain").is_hidden()
    assert asks(page, lambda: page.get_by_role("combobox", name="Show").select_option("20"))["k"] == 20
    page.locator(STEERED).nth(19).wait_for()


def test_the_latency_is_shown_with_its_steps(page: Any, say: Say) -> None:
    say(page, "no comedy")
    summary = page.locator("#latency summary")
    assert re.fullmatch(r"[\d.,]+ ms in the server, [\d.,]+ ms there and back", summary.inner_text())
    summary.click()
    steps = page.locator("#latency th").all_inner_texts()
    assert "encode prompt" in steps
    assert "total" not in steps


def test_a_new_list_is_announced(page: Any, say: Say) -> None:
    from playwright.sync_api import expect

    answer = say(page, "no comedy")
    live = page.locator("#live")
    expect(live).to_contain_text("Refused: Comedy.")
    expect(live).to_contain_text(f"First: {answer['items'][0]['title']}.")
    assert live.get_attribute("aria-live") == "polite"
