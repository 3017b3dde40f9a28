# What can be told of the page's files without a browser.

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[4] / "python" / "dpr_infer" / "serve" / "page"
INDEX = (PAGE / "index.html").read_text(encoding="utf-8")
SCRIPTS = sorted(PAGE.glob("*.js"))


def of_the_page(path: Path) -> bool:
    """Whether a file is the page's; the description of the API has a page of its own."""
    return not path.name.startswith("docs.") and path.suffix != ".html"


def test_what_the_page_names_is_there() -> None:
    named = set(re.findall(r'(?:href|src)="static/([^"]+)"', INDEX))
    assert named == {path.name for path in PAGE.iterdir() if of_the_page(path)}


def test_what_scripts_import_is_there() -> None:
    for script in SCRIPTS:
        for name in re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8")):
            assert (PAGE / name).is_file(), f"{script.name} imports {name}"


def test_ids_that_scripts_ask_for_are_there() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', INDEX))
    made = {"search"}  # by the combobox
    for script in filter(of_the_page, SCRIPTS):
        asked = set(re.findall(r'byId\("([^"]+)"\)', script.read_text(encoding="utf-8")))
        assert asked <= ids | made, script.name


def test_no_inline_code_and_no_other_host() -> None:
    assert re.search(r"<style|\sstyle=|\son\w+=|javascript:", INDEX) is None
    assert all(
        tag.startswith("<script src=") or " src=" in tag for tag in re.findall(r"<script[^>]*>", INDEX)
    )
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.search(r"https?://|url\(", text) is None, path.name


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_never_parse_html(script: Path) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc"
    )
    assert re.search(forbidden, script.read_text(encoding="utf-8")) is None
