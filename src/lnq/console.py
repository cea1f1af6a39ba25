"""Where every line for the user is printed."""

from __future__ import annotations

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is, in lines as long as they are.

    Nothing in a text is markup, a colour or an emoji: paths, ids and messages may hold `[`, `[/]`
    or `:x:`. What we colour ourselves is a `rich.text.Text` or a table with styles.

    Args:
        stderr: For what is no result, such as progress and errors.
    """
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)
