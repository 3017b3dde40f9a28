# Titles, tags, names and prompts are text whatever they hold; nothing is loaded from elsewhere.

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.debian("chromium", "chromium")

HOSTILE = (
    "<img src=x onerror=\"window.harm='img'\">",
    "\"><script>window.harm='script'</script>",
    "<svg onload=\"window.harm='svg'\"><style>*{display:none}</style>",
    "javascript:window.harm='url'",
    "{{constructor.constructor('window.harm=1')()}}",
    "</ol></main><h1>gone</h1>",
    "\u202eabc\u0000\u2028\ud83d\ude00" * 3,
    "A" * 400,
)


def spoil(value: Any, at: int = 0) -> Any:
    """The same JSON with hostile titles, tags and names."""
    if isinstance(value, list):
        return [spoil(entry, at + n) for n, entry in enumerate(value)]
    if not isinstance(value, dict):
        return value
    spoilt = {}
    for name, entry in value.items():
        if name in ("title", "name", "tag", "version"):
            spoilt[name] = HOSTILE[at % len(HOSTILE)]
        elif name in ("tags", "asked", "refused") and isinstance(entry, list):
            spoilt[name] = [HOSTILE[(at + n) % len(HOSTILE)] for n in range(len(entry))]
        else:
            spoilt[name] = spoil(entry, at)
    return spoilt


@pytest.fixture
def spoilt_page(new_page: Callable[..., Any], server: str) -> Any:
    """The page, where everything that a server can name is hostile."""
    page = new_page()

    def handle(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=json.dumps(spoil(answer.json())))

    page.route("**/v1/**", handle)
    page.goto(server)
    page.wait_for_selector(".steered .row:not(.blank)")
    return page


def test_hostile_titles_and_tags_stay_text(spoilt_page: Any, say: Any) -> None:
    page = spoilt_page
    for text in HOSTILE[:4]:
        say(page, text)
    page.get_by_role("button", name="Edit history").click()
    page.get_by_label("Add a title").fill("film")
    page.locator("[role=option]").first.wait_for()
    with page.expect_response("**/v1/recommend"):
        page.keyboard.press("Enter")
    for where in (".steered .title", ".plain .title", "#strip li", ".turn-text", "#taste", ".suggestion"):
        assert page.locator(where).count(), where
    shown = "\n".join(page.locator(".steered .title").all_text_contents())
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert page.locator("main img, main script, main style, main h1").count() == 0
    assert page.evaluate("window.harm") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_hostile_link_stays_text(new_page: Callable[..., Any], server: str) -> None:
    page = new_page()
    page.goto(server)
    hash_of = "(turns) => { location.hash = new URLSearchParams({ h: '[]', t: JSON.stringify(turns) }); }"
    with page.expect_response("**/v1/recommend"):
        page.evaluate(hash_of, [*HOSTILE[:6], {HOSTILE[0]: "ask"}])
    page.get_by_text(HOSTILE[0], exact=True).wait_for()
    assert page.evaluate("window.harm") is None
    assert page.locator("main img, main script").count() == 0


def test_nothing_is_loaded_from_elsewhere(new_page: Callable[..., Any], server: str, say: Any) -> None:
    page = new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    page.wait_for_selector(".steered .row:not(.blank)")
    say(page, "no comedy")
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith(server)] == []


def test_the_policy_forbids_inline_code(browser: Any, server: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(server)
        _expect_policy(page, server)


def _expect_policy(page: Any, server: str) -> None:
    from playwright.sync_api import Error

    policy = page.request.get(server).headers["content-security-policy"]
    assert "unsafe" not in policy
    refused = page.evaluate(
        """() => new Promise((done) => {
          const tell = (event) => done(event.effectiveDirective);
          document.addEventListener("securitypolicyviolation", tell, { once: true });
          document.body.setAttribute("style", "color: red");
        })"""
    )
    assert refused.startswith("style-src")
    for sink in (
        "document.createElement('script').textContent = \"window.harm = 'inline'\"",
        "document.body.insertAdjacentHTML('beforeend', '<p>markup</p>')",
        "document.body.innerHTML = '<p>markup</p>'",
        "trustedTypes.createPolicy('mine', {createHTML: (text) => text})",
    ):
        with pytest.raises(Error, match="TypeError"):
            page.evaluate(f"() => {{ {sink} }}")
    assert page.evaluate("window.harm") is None
