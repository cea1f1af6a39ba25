"""Where every line for the user is printed."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from lnq.errors import printable


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is, in lines as long as they are.

    Nothing in a text is markup, a colour or an emoji: paths, ids and messages may hold `[`, `[/]`
    or `:x:`. What we colour ourselves is a `rich.text.Text` or a table with styles.

    Args:
        stderr: For what is no result, such as progress and errors.
    """
    return _Printable(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def print_on() -> None:
    """Has nothing that is printed end this process: what cannot be shown, or to nobody, is not.

    A terminal or log of another encoding gets `?` for what it lacks, such as λ. Where the reader
    of a pipe has gone, or the disk of a log is full, the work goes on in silence.
    """
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _Lasting(sys.__stdout__)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _Lasting(sys.__stderr__)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `7 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


@contextmanager
def told_when_interrupted(line: str) -> Iterator[None]:
    """Says what stands and how to go on, where Ctrl-C ends the block."""
    try:
        yield
    except KeyboardInterrupt:
        console(stderr=True).print(line)
        raise


class _Printable(Console):
    """Text that is printed, in tables too, moves no cursor and changes no colour."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as rich takes it."""
        return super().render_str(printable(text, besides="\n"), **options)


class _Lasting(io.TextIOWrapper):
    """A stream that goes on, to nowhere, when its file takes nothing more."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            stream.buffer, encoding=stream.encoding, errors="replace",
            line_buffering=bool(stream.line_buffering), write_through=True,
        )  # fmt: skip

    def write(self, text: str, /) -> int:
        """Writes, or not."""
        try:
            return super().write(text)
        except OSError:
            self._fall_silent()
            return len(text)

    def flush(self) -> None:
        """Writes what waits, or not."""
        try:
            super().flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        """Python flushes once more when it ends, and would fail then."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
