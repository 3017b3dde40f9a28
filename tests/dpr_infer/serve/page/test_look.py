# Narrow screens, fingers, stillness, light and dark, and what axe-core finds.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")

PHONE = {"viewport": {"width": 320, "height": 640}, "has_touch": True, "is_mobile": True}
ROWS = ".steered .row:not(.blank)"
TARGET_PX = 44
# Interactive things that are seen and smaller than a finger. A link within a text may be.
SMALL = """(least) => [...document.querySelectorAll("button, select, summary, input, a[href], [role=option]")]
  .filter((node) => node.checkVisibility() && !node.closest(".vh, .skip"))
  .map((node) => [node, (node.type === "radio" ? node.parentElement.parentElement : node).getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.height < least - 0.5 || box.width < least - 0.5))
  .map(([node, box]) => `${node.outerHTML.slice(0, 90)} ${box.width}x${box.height}`)"""
# Not innerWidth: a phone's window grows with what is too wide for it.
TOO_WIDE = "document.documentElement.scrollWidth - 320"


def opened(new_page: Callable[..., Any], server: str, **options: Any) -> Any:
    page = new_page(**options)
    page.goto(server)
    page.wait_for_selector(ROWS)
    return page


def send(page: Any, text: str) -> None:
    page.get_by_label("Say what you want").fill(text)
    with page.expect_response("**/v1/recommend"):
        page.get_by_role("button", name="Send").click()
    page.locator(".chip").first.wait_for()


def everything_open(page: Any) -> None:
    """Open all that folds, with a list of found titles."""
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    page.get_by_role("button", name="Edit history").click()
    page.get_by_label("Add a title").fill("film 1")
    page.locator("[role=option]").first.wait_for()


def test_a_phone_needs_no_sideways_scroll(new_page: Callable[..., Any], server: str) -> None:
    page = opened(new_page, server, **PHONE)
    assert page.evaluate(TOO_WIDE) == 0
    send(page, "no comedy and war and no " + "drama" * 20)
    assert page.evaluate(TOO_WIDE) == 0
    everything_open(page)
    assert page.evaluate(TOO_WIDE) == 0
    page.get_by_label("Steered alone").check()
    assert page.evaluate(TOO_WIDE) == 0


def test_trouble_fits_a_phone(new_page: Callable[..., Any], server: str) -> None:
    page = opened(new_page, server, **PHONE)
    page.route("**/v1/recommend", lambda route: route.fulfill(status=500, body='{"detail": "it broke"}'))
    page.locator(".suggestion").first.tap()
    page.get_by_text("it broke").wait_for()
    assert page.evaluate(TOO_WIDE) == 0
    page.route("**/v1/recommend", lambda route: route.fulfill(status=401, body="{}"))
    page.get_by_role("button", name="Try again").tap()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate(TOO_WIDE) == 0
    assert page.evaluate(SMALL, TARGET_PX) == []


def test_fingers_hit_everything(new_page: Callable[..., Any], server: str) -> None:
    page = opened(new_page, server, **PHONE)
    send(page, "no comedy and war")
    everything_open(page)
    assert page.evaluate(SMALL, TARGET_PX) == []


def test_on_a_phone_the_answer_comes_into_sight(new_page: Callable[..., Any], server: str) -> None:
    from playwright.sync_api import expect

    page = opened(new_page, server, **PHONE)
    send(page, "no comedy")
    expect(page.locator(".steered .row").first).to_be_in_viewport()
    assert page.evaluate("document.activeElement.id") != "prompt"  # its keyboard would lie over the list


def test_stillness_is_respected(new_page: Callable[..., Any], server: str) -> None:
    page = new_page(reduced_motion="reduce")
    page.add_init_script(
        """window.moves = 0;
        const animate = Element.prototype.animate;
        Element.prototype.animate = function (...given) { window.moves += 1; return animate.apply(this, given); };"""
    )
    page.goto(server)
    page.wait_for_selector(ROWS)
    send(page, "no comedy")
    page.locator(".steered .move").first.wait_for()
    assert page.evaluate("window.moves") == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_light_and_dark(new_page: Callable[..., Any], server: str) -> None:
    page = opened(new_page, server, color_scheme="dark")
    toggle = page.get_by_role("button", name="Dark colours")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    light = page.evaluate(ground)
    assert light != dark
    assert toggle.get_attribute("aria-pressed") == "false"
    page.reload()
    page.wait_for_selector(ROWS)
    assert page.evaluate(ground) == light
    page.evaluate("localStorage.clear()")
    page.reload()
    page.wait_for_selector(ROWS)
    assert page.evaluate(ground) == dark


def findings(page: Any) -> list[str]:
    """What axe-core objects to, by rule and element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [{}, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing(
    new_page: Callable[..., Any], server: str, scheme: str, screen: dict[str, Any]
) -> None:
    page = opened(new_page, server, color_scheme=scheme, reduced_motion="reduce", **screen)
    assert findings(page) == []
    send(page, "no comedy and war")
    assert findings(page) == []
    everything_open(page)
    page.keyboard.press("ArrowDown")
    assert findings(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_trouble(new_page: Callable[..., Any], server: str, scheme: str) -> None:
    page = opened(new_page, server, color_scheme=scheme, reduced_motion="reduce")
    page.route("**/v1/recommend", lambda route: route.fulfill(status=422, body='{"detail": "not thus"}'))
    page.locator(".suggestion").first.click()
    page.get_by_text("not thus").wait_for()
    assert findings(page) == []
    page.route("**/v1/recommend", lambda route: route.fulfill(status=500, body='{"detail": "it broke"}'))
    page.locator(".suggestion").first.click()
    page.get_by_text("it broke").wait_for()
    assert findings(page) == []
    page.route("**/v1/recommend", lambda route: route.fulfill(status=401, body="{}"))
    page.get_by_role("button", name="Try again").click()
    page.get_by_role("dialog").wait_for()
    assert findings(page) == []


def test_axe_finds_nothing_while_waiting(new_page: Callable[..., Any], server: str) -> None:
    page = new_page(reduced_motion="reduce")
    page.route("**/v1/model", lambda route: None)
    page.goto(server)
    page.locator(".blank").first.wait_for()
    assert findings(page) == []
