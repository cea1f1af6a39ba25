"""What only reports on a training ends none."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Reporter = TypeVar("Reporter", bound=type)


@contextmanager
def only_reports(what: str) -> Iterator[None]:
    """Turns whatever is raised in the block into a warning; signals pass.

    Args:
        what: What does not come about, `W&B's log`.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a library of others may raise anything
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"{what} is incomplete: {why}", stacklevel=2)


def reporting(what: str, *methods: str) -> Callable[[Reporter], Reporter]:
    """Decorates a logger whose methods of these names end no training.

    Args:
        what: As for `only_reports`.
        *methods: The class's own, or inherited.
    """

    def guarded(method: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(method)
        def call(*arguments: Any, **options: Any) -> None:
            with only_reports(what):
                method(*arguments, **options)

        return call

    def decorate(reporter: Reporter) -> Reporter:
        for name in methods:
            setattr(reporter, name, guarded(getattr(reporter, name)))
        return reporter

    return decorate
