"""What `--help` prints: taken from the configuration files, so that it lists whatever is there.

A file's opening comment says what it is for; its lines with `python -m` or `+group=` are examples.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lnq.config.composition import CONF, Arguments
from lnq.console import print_on

_USAGE = re.compile(r"python -m |(^|\s)\+\w+=")
_SENTENCE = re.compile(r"(?<=\.) (?=[A-Z])")
_GLOBAL = "@package _global_"
MORE = """\
more
  KEY=VALUE            any key, with dots for those inside a group
  +GROUP=[A,B]         several files of a group with +, one upon the other
  --cfg job            every key with its value, of this command line; nothing is run
  --config-dir DIR     adds a folder of your own configuration files
  -m                   one job for each of several values: KEY=A,B
  --hydra-help         what else Hydra can do"""


def answer_help(stage: str, argv: Sequence[str] | None = None) -> None:
    """Where a command line asks what a command does, prints that and ends the process.

    Args:
        stage: Name of the command's primary configuration file.
        argv: The arguments; None = those of the process.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if "--help" not in arguments and "-h" not in arguments:
        return
    print_on()
    print(help_text(stage, arguments), flush=True)
    sys.exit(0)


def help_text(stage: str, argv: Sequence[str] = ()) -> str:
    """The help of a command.

    Args:
        stage: Name of its primary configuration file.
        argv: Its arguments: with `--config-dir DIR` that folder's files are listed too.
    """
    config_dir = Arguments.parse(argv).config_dir
    roots = [CONF] if config_dir is None else [CONF, config_dir]
    file = CONF / f"{stage}.yaml"
    parts = ["\n".join(opening(file))]
    parts += [_overlay(group, roots) for group in _overlays(stage, roots)]
    chosen = dict(_chosen(file))
    if chosen:
        parts.append("groups: GROUP=NAME; * is what holds without it")
        parts += [_group(group, name, roots) for group, name in chosen.items()]
    keys = _keys(file)
    if keys:
        parts.append(
            "\n".join(["keys (??? must be given)", *(f"  {line}".rstrip() for line in keys)])
        )
    return "\n\n".join([*parts, MORE])


def opening(file: Path) -> list[str]:
    """Lines of a configuration file's opening comment, without Hydra's own directive."""
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" ").rstrip())
    return [line for line in lines if line != _GLOBAL]


def one_line(file: Path) -> str:
    """The first sentence of a file's opening comment that is no example; empty without one."""
    said: list[str] = []
    for line in opening(file):
        if not _USAGE.search(line):
            said.append(line.strip())
        elif said:
            break
    return _SENTENCE.split(" ".join(said))[0].rstrip(".:")


def options(group: str, roots: Sequence[Path]) -> dict[str, Path]:
    """Files of a configuration group by name; a later folder's replace those before."""
    files = {
        path.relative_to(root / group).with_suffix("").as_posix(): path
        for root in roots
        for path in (root / group).rglob("*.yaml")
    }
    return dict(sorted(files.items()))


def _overlays(stage: str, roots: Sequence[Path]) -> list[str]:
    """Groups that change keys of several others, and whose files name this command."""
    groups = {path.name for root in roots for path in root.iterdir() if path.is_dir()}
    named = re.compile(rf"python -m lnq\.{stage}\b")
    return [
        group
        for group in sorted(groups, key=lambda group: (group != "experiment", group))
        if any(
            _GLOBAL in path.read_text(encoding="utf-8") and named.search("\n".join(opening(path)))
            for path in options(group, roots).values()
        )
    ]


def _overlay(group: str, roots: Sequence[Path]) -> str:
    files = options(group, roots)
    text = "\n".join(line for path in files.values() for line in opening(path))
    multirun = "-m " if re.search(rf"lnq\.\w+ -m .*\+{group}=", text) else ""
    title = f"{group}: {multirun}+{group}=NAME"
    return "\n".join([title, *_lines({name: one_line(path) for name, path in files.items()})])


def _group(group: str, chosen: str, roots: Sequence[Path]) -> str:
    """A group as the defaults list names it, `augmentation@datamodule.transform` for instance."""
    files = options(group.partition("@")[0], roots)
    said = {("*" if name == chosen else " ") + name: one_line(f) for name, f in files.items()}
    return "\n".join([group, *_lines(said)])


def _lines(said: dict[str, str]) -> Iterator[str]:
    width = max(map(len, said), default=0)
    for name, text in said.items():
        yield f"  {name:<{width}}  {text}".rstrip()


def _chosen(file: Path) -> Iterator[tuple[str, str]]:
    """The groups of a command, and which of each holds without being named."""
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig)
    for entry in config.defaults:
        if isinstance(entry, DictConfig):
            for group, name in entry.items():
                if group != "hydra":
                    yield str(group), str(name)


def _keys(file: Path) -> list[str]:
    """A command's own keys with their comments: what follows the list of defaults."""
    lines = file.read_text(encoding="utf-8").splitlines()
    begun = lines.index("defaults:") + 1
    rest = [n for n, line in enumerate(lines) if n >= begun and not re.match(r"\s*-|\s*$", line)]
    return lines[rest[0] :] if rest else []
