"""The site of docs/ builds without a warning, is whole, and asks nobody for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "docs_build"))
import reference
import site_check

GENERATED = {"commands": reference.commands, "configuration": reference.configuration}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(REPOSITORY / "docs", project / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", project)
    (project / "src").symlink_to(REPOSITORY / "src")
    path = os.pathsep.join([str(REPOSITORY / "docs_build"), str(REPOSITORY / "src")])
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=project, check=False,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return project / "site"


@pytest.mark.process
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(site: Path) -> None:
    assert site_check.faults(site) == []
    pages = {page.relative_to(REPOSITORY / "docs") for page in (REPOSITORY / "docs").rglob("*.md")}
    assert {page.with_suffix(".html") for page in pages} <= {
        page.relative_to(site) for page in site.rglob("*.html")
    }


@pytest.mark.process
def test_formulas_need_no_script(site: Path) -> None:
    method = (site / "explanation/method.html").read_text()
    source = (REPOSITORY / "docs/explanation/method.md").read_text()
    assert method.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == (
        len(re.findall(r"^\$\$", source, re.MULTILINE))
    )
    assert "<msub>" in method
    assert "$$" not in method


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_every_page_is_in_the_navigation(page: Path) -> None:
    assert str(page.relative_to(REPOSITORY / "docs")) in (REPOSITORY / "mkdocs.yml").read_text()


@pytest.mark.parametrize("name", GENERATED)
def test_generated_pages_are_current(name: str) -> None:
    written = (REPOSITORY / "docs/reference" / f"{name}.md").read_text()
    assert written.rstrip() == GENERATED[name]().rstrip(), "run `make docs`"


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<script src="https://elsewhere.org/x.js"></script>', "from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.elsewhere.org/x.css">', "from elsewhere"),
        ('<link rel="preconnect" href="https://elsewhere.org">', "from elsewhere"),
        ('<img srcset="a.png 1x, https://elsewhere.org/b.png 2x" src="data:,">', "from elsewhere"),
        ("<style>@font-face { src: url(https://elsewhere.org/a.woff) }</style>", "from elsewhere"),
        ('<style>@import "https://elsewhere.org/a.css"</style>', "from elsewhere"),
        ('<img src="gone.png">', "not there"),
        ('<a href="gone.html#here">gone</a>', "not there"),
        (r"<p>\frac{a}{b}</p>", "formula"),
    ],
)  # fmt: skip
def test_what_the_check_finds(tmp_path: Path, html: str, fault: str) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "page.html").write_text(html)
    assert any(fault in said for said in site_check.faults(tmp_path))
    (tmp_path / "page.html").write_text(
        '<a href="https://elsewhere.org">a link loads nothing</a><a href="page.html#top">top</a>'
        r"<code>\frac{a}{b}</code>"
    )
    assert site_check.faults(tmp_path) == []


CITED = re.compile(r"docs/[\w/-]+\.md(?:#[\w-]+)?")


def slugs(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_what_the_code_cites_is_there() -> None:
    texts = [
        path.read_text()
        for folder in ("src", "tests", "conf", "benchmarks", "notebooks")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".yaml", ".ipynb"}
    ]
    cited = {hit for text in [*texts, (REPOSITORY / "Makefile").read_text()]
             for hit in CITED.findall(text)}  # fmt: skip
    assert len(cited) > 5
    for hit in cited:
        page, _, anchor = hit.partition("#")
        assert (REPOSITORY / page).is_file(), hit
        assert not anchor or anchor in slugs(REPOSITORY / page), hit


def test_the_map_shows_the_floors_that_are_held() -> None:
    """DESIGN.md's map against import-linter's layers, floor by floor."""
    design = (REPOSITORY / "DESIGN.md").read_text()
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    held = [{name.strip() for name in floor.split("|")} for floor in layers if floor != "__main__"]
    rows = re.findall(r"^\| `([^`]+)` \|", design.partition("## The way")[0], re.MULTILINE)
    assert [{name.rstrip("/") for name in row.split()} for row in rows] == held


def test_where_to_go_to_change_something_is_there() -> None:
    rows = (REPOSITORY / "DESIGN.md").read_text().partition("## To change")[2]
    places = re.findall(r"`([\w/]+(?:/|\.py))`", rows)
    assert len(places) > 20
    for place in places:
        found = [place, f"src/lnq/{place}"]
        near = [path for path in (REPOSITORY / "src/lnq").rglob(place) if "/" not in place]
        assert near or any((REPOSITORY / path).exists() for path in found), place
