"""Writes the reference's pages that are made of `conf/`: commands and configuration.

    python docs_build/reference.py

They are committed, so that they can be read without building anything; a test fails where they
are not current.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lnq.config.composition import CONF
from lnq.config.help import MORE, help_text, one_line, options

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
ORDER = (
    "doctor", "preprocess", "train", "calibrate", "predict", "evaluate", "report", "compare",
    "collect", "rank", "export", "figures", "dashboard",
)  # fmt: skip
"""Commands as one meets them; others follow in the alphabet's order."""
MADE = "<!-- Made from conf/ by docs_build/reference.py (make docs). Change it there. -->"


def commands() -> str:
    """What `--help` says, command by command."""
    stages = sorted((path.stem for path in CONF.glob("*.yaml")), key=_place)
    rows = [f"| [`{stage}`](#{stage}) | {one_line(CONF / f'{stage}.yaml')} |" for stage in stages]
    return "\n".join([
        MADE, "# Commands", "",
        "`python -m lnq.NAME`, or `lnq NAME`. What stands here is what `--help` prints.", "",
        "| command | what it does |", "| --- | --- |", *rows, "",
        "All of them take", "", _block("text", MORE), "",
        *(line for stage in stages for line in _command(stage)),
    ])  # fmt: skip


def configuration() -> str:
    """Every file of every group, with its comments."""
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    return "\n".join([
        MADE, "# Configuration", "",
        "The files of each group of `conf/`. `GROUP=NAME` on a command line takes one of them,",
        "`+GROUP=NAME` lays one over what is there, `GROUP.KEY=VALUE` changes a key. The commands'",
        "own keys are under [commands](commands.md).", "",
        *(line for group in groups for line in _group(group)),
    ])  # fmt: skip


def _place(stage: str) -> tuple[int, str]:
    return (ORDER.index(stage) if stage in ORDER else len(ORDER), stage)


def _command(stage: str) -> Iterator[str]:
    yield from (f"## {stage}", "", _block("text", help_text(stage).removesuffix(MORE).rstrip()), "")


def _group(group: Path) -> Iterator[str]:
    yield from (f"## {group.name}", "")
    for name, file in options(group.name, [CONF]).items():
        text = file.read_text(encoding="utf-8").rstrip()
        yield from (f"### {group.name}/{name}", "", _block("yaml", text), "")


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def main() -> None:
    """Writes both pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for page in (commands, configuration):
        text = page().rstrip() + "\n"
        (REFERENCE / f"{page.__name__}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
