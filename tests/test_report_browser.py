"""The report in a real headless browser: it sorts, scrolls, fits, and asks nobody for anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image
from support.browser import NAMES, Browser, browser
from support.report_runs import EVIL, FALSE, LARGE, SMALL, make_run, report

CASES = {
    "a": (LARGE | SMALL, LARGE | SMALL),
    EVIL: (LARGE | SMALL, SMALL | FALSE),
    "empty": (0 * LARGE, 0 * LARGE),
    "b" * 90: (LARGE | SMALL, LARGE),
}
ROWS = "[...document.querySelectorAll('#cases ~ .scroll tbody tr th')].map(c => c.textContent[0])"
SHOWN = "[...document.querySelectorAll('#case-0 .frame')].findIndex(f => f.checkVisibility())"


def without_browser() -> NoReturn:
    said = f"no browser: none of {', '.join(NAMES)} (apt-get install chromium)"
    # In CI nobody reads what was skipped: the page would be tested nowhere, and all would be green.
    if os.environ.get("CI") == "true":
        pytest.fail(said)
    pytest.skip(said)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        if found is None:
            without_browser()
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two runs."""
    folder = tmp_path_factory.mktemp("report")
    runs = [make_run(folder / name, CASES, name=name) for name in ("first", "second" * 12)]
    (runs[0] / "panels").mkdir()
    for epoch in range(3):
        picture = Image.fromarray(np.full((30, 900, 3), 80 * epoch, dtype=np.uint8))
        picture.save(runs[0] / "panels" / f"epoch={epoch}.png")
    # The same scans, so that both runs stand in one viewer.
    manifest = runs[1] / "predictions" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(runs[1].parent), str(runs[0].parent)))
    output = folder / "report.html"
    assert report(f"run=[{runs[0]},{runs[1]}]", f"output={output}") == 0
    return output


@pytest.mark.process
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_silent(tab: Browser, page: Path, width: int) -> None:
    tab.open(page, width)
    assert tab.js("document.documentElement.scrollWidth") <= width
    # Every stack of slices and epochs can be used, and shows one picture.
    shown = (
        "[...document.querySelectorAll('.viewer')].map(v => v.querySelectorAll('.shown').length)"
    )
    assert tab.js(shown) == [1] * 5
    assert tab.js("document.querySelectorAll('#case-0 .shown .panel').length") == 2
    assert tab.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert tab.faults() == []


@pytest.mark.process
def test_a_click_or_the_keyboard_sorts(tab: Browser, page: Path) -> None:
    tab.open(page, 1280)
    assert tab.js(ROWS) == ["<", "b", "a", "e"]  # the largest error first
    dsc = "#cases ~ .scroll tr:last-child th:nth-child(2)"
    tab.click(f"{dsc} button")
    assert tab.js(ROWS) == ["<", "b", "a", "e"]
    tab.click(f"{dsc} button")
    assert tab.js(ROWS) == ["a", "b", "<", "e"]  # without a value: at the end in either direction
    assert tab.js(f"document.querySelector('{dsc}').ariaSort") == "descending"
    tab.js("document.querySelector('#cases ~ .scroll tr:last-child th button').focus()")
    tab.key("Enter")
    assert tab.js(ROWS) == ["<", "a", "b", "e"]
    assert tab.js("document.querySelectorAll('#cases ~ .scroll th[aria-sort]').length") == 1
    tab.key("Enter")
    assert tab.js(ROWS) == ["e", "b", "a", "<"]
    tab.click(f"{dsc} button")
    assert tab.js(ROWS) == ["<", "b", "a", "e"]
    assert tab.faults() == []


@pytest.mark.process
def test_slices_follow_slider_keys_wheel_and_links(tab: Browser, page: Path) -> None:
    tab.open(page, 1280)
    start = tab.js(SHOWN)
    assert 0 < start < 7
    tab.js("document.querySelector('#case-0 input').focus()")
    tab.key("ArrowRight")
    assert tab.js(SHOWN) == start + 1
    assert f"slice {start + 2} of 8" in tab.js("document.querySelector('#case-0 output').value")
    tab.click("#case-0 .frames")
    tab.key("ArrowDown")
    assert tab.js(SHOWN) == start
    tab.wheel("#case-0 .frames", -120)
    assert tab.js(SHOWN) == start + 1
    tab.key("End")
    assert tab.js(SHOWN) == 7
    tab.click("#case-0 .jump")
    assert tab.js(SHOWN) == start
    tab.click("#show-missed")
    assert not tab.js("document.querySelector('#case-0 .shown .missed').checkVisibility()")
    # The wheel over a picture that was not clicked scrolls the page.
    other = "[...document.querySelectorAll('#case-1 .frame')].findIndex(f => f.checkVisibility())"
    before = tab.js(other)
    tab.wheel("#case-1 .frames", -120)
    assert tab.js(other) == before
    assert tab.faults() == []


@pytest.mark.process
def test_points_of_the_plots_lead_to_their_cases(tab: Browser, page: Path) -> None:
    tab.open(page, 1280)
    points = "document.querySelectorAll('#distributions ~ .plots a')"
    assert tab.js(f"{points}.length") > 10
    row = "document.querySelector(a.getAttribute('href')).cells[0].textContent"
    named = "a.querySelector('title').textContent.startsWith"
    assert tab.js(f"[...{points}].every(a => {named}({row}))")


@pytest.mark.process
def test_it_is_readable_without_scripts(tab: Browser, page: Path) -> None:
    tab.open(page, 390, scripts=False)
    try:
        assert tab.js("document.documentElement.scrollWidth") <= 390
        visible = (
            "[...document.querySelectorAll('#case-0 .frame')].filter(f => f.checkVisibility())"
        )
        assert tab.js(f"{visible}.length") == 8
        assert not tab.js("document.querySelector('#case-0 .controls').checkVisibility()")
    finally:
        tab("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("ci", ["true", ""])
def test_only_ci_insists_on_a_browser(ci: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.fail.Exception if ci else pytest.skip.Exception, match="no browser"):
        without_browser()
