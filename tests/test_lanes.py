"""The lanes: every example is run, and what a test is marked with is what it does."""

from __future__ import annotations

import tomllib

from support import REPOSITORY

SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"][
    "ini_options"
]


def test_every_example_in_a_docstring_is_run() -> None:
    run = [REPOSITORY / path for path in SETTINGS["testpaths"]]
    examples = [p for p in (REPOSITORY / "src").rglob("*.py") if ">>> " in p.read_text()]
    assert examples
    assert [p for p in examples if not any(p.is_relative_to(place) for place in run)] == []
