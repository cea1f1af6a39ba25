"""The one class tree of errors that `lnq` raises on purpose.

A message tells what happened, where, why, and what to do about it. The class decides the exit code:
2 = the user's mistake (refused before any work starts), 3 = a case failed and the others went on,
4 = the environment or the run failed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

# How ITK and torch, which raise a plain RuntimeError, say that memory could not be had.
_NO_MEMORY = ("Failed to allocate memory", "DefaultCPUAllocator", "std::bad_alloc")
# How ITK's thread pool says that the system gives it no more of them.
_NO_THREADS = ("Resource temporarily unavailable", "Unable to create a thread")


def printable(text: str, besides: str = "") -> str:
    """The text with control characters, as names may hold them, spelt out: they steer a terminal.

    Args:
        text: Anything.
        besides: Characters that stay, such as line breaks.
    """
    return "".join(c if c.isprintable() or c in besides else repr(c)[1:-1] for c in text)


class LnqError(Exception):
    """Base of all errors with a message made for the user.

    Args:
        what: What happened, one clause.
        where: The file, case or config key concerned.
        why: The cause as far as it is known.
        remedy: What the user can do about it.
    """

    exit_code: int = 4

    def __init__(
        self,
        what: str,
        *,
        where: object | None = None,
        why: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.why = why
        self.remedy = remedy
        super().__init__(what, where, why, remedy)

    def __str__(self) -> str:
        """One line: what [where]: why. Remedy."""
        text = self.what
        if self.where is not None:
            text += f" [{self.where}]"
        if self.why is not None:
            text += f": {self.why}"
        if self.remedy is not None:
            text += f". {self.remedy[0].upper()}{self.remedy[1:]}"
        return printable(text)  # one line

    def at(self, place: object) -> Self:
        """The same error, about `place` where it does not name one itself."""
        where = place if self.where is None else self.where
        return type(self)(self.what, where=where, why=self.why, remedy=self.remedy)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all parts when the error crosses a process boundary."""
        return (_rebuild, (type(self), self.what, self.where, self.why, self.remedy))


def _rebuild(
    kind: type[LnqError], what: str, where: str | None, why: str | None, remedy: str | None
) -> LnqError:
    return kind(what, where=where, why=why, remedy=remedy)


class UsageError(LnqError):
    """The user asked for something impossible; refused before any work starts (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """One or several faults of the configuration, all reported together (exit code 2)."""


class CaseError(LnqError):
    """One case cannot be processed; the others go on (exit code 3)."""

    exit_code = 3


class RunError(LnqError):
    """The environment or the run failed: disk full, worker killed, NaN loss (exit code 4)."""

    exit_code = 4


@contextmanager
def memory_for(scan: object) -> Iterator[None]:
    """Lets a scan for which the machine has too little fail alone, as any bad case does.

    Args:
        scan: What is read and computed with in the block.

    Raises:
        CaseError: The block ran out of memory or threads.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if any(sign in str(error) for sign in _NO_THREADS):
            raise CaseError(
                "no threads are left for this scan", where=scan,
                remedy="use fewer workers, or raise the limit of processes (ulimit -u)",
            ) from error  # fmt: skip
        if not isinstance(error, MemoryError) and not any(s in str(error) for s in _NO_MEMORY):
            raise
        raise CaseError(
            "not enough memory for this scan", where=scan,
            remedy="crop it, use fewer workers, or a machine with more memory",
        ) from error  # fmt: skip
