# What the page shows when something is wrong, and how one gets out of it.

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")

RECOMMEND = "**/v1/recommend"
ROWS = ".steered .rows:not(.ghosts) .row:not(.blank)"
KEY = "correct-horse"


def problem(status: int, detail: str, **headers: str) -> dict[str, Any]:
    """What route.fulfill needs for a problem of RFC 9457."""
    body = {"type": "about:blank", "title": "Made up", "status": status, "detail": detail}
    return {
        "status": status,
        "headers": {"Content-Type": "application/problem+json", **headers},
        "body": json.dumps(body),
    }


def answer_with(page: Any, *answers: dict[str, Any]) -> None:
    """Answer the next questions with these, and let the server answer the others."""
    left = list(answers)

    def handle(route: Any) -> None:
        if left:
            route.fulfill(**left.pop(0))
        else:
            route.continue_()

    page.route(RECOMMEND, handle)


def send(page: Any, text: str) -> None:
    page.get_by_label("Say what you want").fill(text)
    page.keyboard.press("Enter")


def see(page: Any, text: str) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#notice")).to_contain_text(text)


def test_a_refused_prompt_comes_back_with_the_reason(page: Any, api: Any) -> None:
    text = "x" * (int(api.get("v1/model")["limits"]["turn_characters"]) + 1)
    send(page, text)
    prompt = page.get_by_label("Say what you want")
    page.wait_for_selector("#prompt[aria-invalid=true]")
    assert (
        "characters" in page.locator("#prompt-problem").inner_text()
        or page.locator("#prompt-problem").inner_text()
    )
    assert prompt.input_value() == text
    assert page.locator("#conversation").is_hidden()
    prompt.fill("no comedy")
    assert page.locator("#prompt-problem").inner_text() == ""


def test_the_detail_of_a_422_is_shown_as_it_is(page: Any) -> None:
    answer_with(page, problem(422, "prompt[0]: <i>this</i> cannot be read"))
    send(page, "no comedy")
    page.get_by_text("prompt[0]: <i>this</i> cannot be read", exact=True).wait_for()


def test_a_busy_server_is_asked_again_after_its_time(new_page: Callable[..., Any], server: str) -> None:
    page = new_page()
    page.clock.install()
    page.goto(server)
    page.wait_for_selector(ROWS)
    answer_with(page, problem(503, "512 queries wait", **{"Retry-After": "7"}))
    send(page, "no comedy")
    see(page, "The server is busy")
    see(page, "512 queries wait. ")
    see(page, "Trying again in 7 s.")
    page.clock.run_for(3_000)
    see(page, "Trying again in 4 s.")
    with page.expect_response(RECOMMEND) as answer:
        page.clock.run_for(4_000)
    assert answer.value.status == 200
    page.locator(".chip").wait_for()
    assert page.locator("#notice").inner_text() == ""


def test_it_does_not_ask_a_busy_server_for_ever(new_page: Callable[..., Any], server: str) -> None:
    from playwright.sync_api import expect

    page = new_page()
    page.clock.install()
    page.goto(server)
    page.wait_for_selector(ROWS)
    tries: list[str] = []

    def refuse(route: Any) -> None:
        tries.append(route.request.url)
        route.fulfill(**problem(503, "full", **{"Retry-After": "1"}))

    page.route(RECOMMEND, refuse)
    send(page, "no comedy")
    for _ in range(5):
        see(page, "Trying again in 1 s.")
        with page.expect_response(RECOMMEND):
            page.clock.run_for(1_000)
    expect(page.locator("#notice")).not_to_contain_text("Trying again")
    assert len(tries) == 6
    page.unroute(RECOMMEND)
    page.get_by_role("button", name="Try now").click()
    page.locator(".chip").wait_for()


def test_no_answer_in_time(new_page: Callable[..., Any], server: str) -> None:
    page = new_page()
    page.clock.install()
    page.goto(server)
    page.wait_for_selector(ROWS)
    page.route(RECOMMEND, lambda route: None)
    with page.expect_request(RECOMMEND):
        send(page, "no comedy")
    assert page.locator("#lists").get_attribute("aria-busy") == "true"
    page.clock.run_for(10_000)
    see(page, "That took too long")
    page.unroute(RECOMMEND)
    page.get_by_role("button", name="Try again").click()
    page.locator(".chip").wait_for()


def test_an_unreachable_server_is_asked_when_the_network_is_back(page: Any) -> None:
    page.context.set_offline(True)
    send(page, "no comedy")
    see(page, "The server can’t be reached")
    assert page.locator(ROWS).count() == 10
    page.context.set_offline(False)
    page.locator(".chip").wait_for()
    assert page.locator("#notice").inner_text() == ""


def test_a_failure_at_the_start_can_be_tried_again(new_page: Callable[..., Any], server: str) -> None:
    page = new_page()
    page.route("**/v1/model", lambda route: route.fulfill(**problem(500, "it broke")))
    page.goto(server)
    see(page, "it broke.")
    assert page.locator("#lists").is_hidden()
    page.unroute("**/v1/model")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(ROWS)


@pytest.mark.parametrize("body", ["<html>", "{}", "[]", '{"items": 7, "wishes": null}'])
def test_an_answer_that_is_none(page: Any, body: str) -> None:
    answer_with(page, {"status": 200, "body": body, "headers": {"Content-Type": "application/json"}})
    send(page, "no comedy")
    see(page, "Something went wrong on the server")
    page.get_by_role("button", name="Try again").click()
    page.locator(".chip").wait_for()


def test_placeholders_stand_where_lists_will_be(new_page: Callable[..., Any], server: str) -> None:
    held = []
    page = new_page()
    page.route("**/v1/model", lambda route: held.append(route))
    with page.expect_request("**/v1/model"):
        page.goto(server)
    page.locator(".blank").first.wait_for()
    assert page.locator(".steered .blank").count() == 10
    assert page.locator("#lists").get_attribute("aria-busy") == "true"
    held[0].continue_()
    page.wait_for_selector(ROWS)
    assert page.locator(".rows:not(.ghosts) .blank").count() == 0


def test_nothing_left_to_recommend(page: Any, api: Any) -> None:
    with page.expect_response(RECOMMEND):
        page.get_by_label("Strict: never shown").check()
    answer_with(page, _emptied(api))
    send(page, "nothing of this")
    see(page, "No title is left")
    page.get_by_role("button", name="Refuse softly").click()
    page.wait_for_selector(ROWS)
    assert page.get_by_label("Soft: pushed down").is_checked()


def _emptied(api: Any) -> dict[str, Any]:
    answer = api.recommend(["no comedy"], steer="strict") | {"items": []}
    return {"status": 200, "body": json.dumps(answer), "headers": {"Content-Type": "application/json"}}


@pytest.fixture(scope="module")
def locked(serve: Callable[..., Any]) -> Iterator[str]:
    """Address of a server that asks for a key."""
    with serve(api_key=(KEY,)) as url:
        yield url


def test_the_key_is_asked_for_and_kept_in_the_tab(new_page: Callable[..., Any], locked: str) -> None:
    page = new_page()
    page.goto(locked)
    dialog = page.get_by_role("dialog", name="This server asks for an API key")
    dialog.wait_for()
    assert page.evaluate("document.activeElement.id") == "key-input"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    dialog.get_by_text("The server did not accept that key.").wait_for()
    page.keyboard.type("two words")
    page.keyboard.press("Enter")
    dialog.get_by_text("without spaces").wait_for()
    page.get_by_label("API key", exact=True).fill(KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector(ROWS)
    assert dialog.is_hidden()
    assert KEY in page.evaluate("Object.values(sessionStorage)")
    assert page.evaluate("localStorage.length") == 0
    assert KEY not in page.url
    assert KEY not in page.content()
    page.reload()
    page.wait_for_selector(ROWS)


def test_the_dialog_can_be_left(new_page: Callable[..., Any], locked: str) -> None:
    page = new_page()
    page.goto(locked)
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    page.keyboard.press("Escape")
    see(page, "An API key is needed")
    page.get_by_role("button", name="Enter a key").click()
    dialog.wait_for()
    page.get_by_role("button", name="Not now").click()
    see(page, "An API key is needed")
