"""Work on the next of several things while the present one is used."""

from __future__ import annotations

import contextlib
import ctypes
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _StoppedError(SystemExit):
    """Ends a thread, which tells nobody of this class of errors."""


class OneAhead(Generic[Item, Result]):
    """Works on items in their order, in a thread on the next one, at most, while one is used.

    What fails ahead is done again in its turn, alone, and fails there.

    Args:
        work: Gives the result of an item. In the thread it must stand beside what the block of
            `meanwhile` does.
        items: In the order in which results are taken.
        ahead: Whether there is a thread; else each item is done in its turn.
    """

    def __init__(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, ahead: bool
    ) -> None:
        self._work = work
        self._left = deque(items)
        self._ahead = ahead
        self._done: list[Result] = []

    def take(self) -> Result:
        """The result of the next item, or the error that the work on it raises."""
        item = self._left.popleft()
        return self._done.pop() if self._done else self._work(item)

    @contextlib.contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Works on the next item while the block runs, and ends when both have.

        An interrupt of the block ends the work, too, and is not held up by it.
        """
        if not self._ahead or not self._left:
            yield
            return
        thread = Thread(target=self._try, args=(self._left[0],), name="one ahead")
        thread.start()
        try:
            yield
        except Exception:  # of the present item; the next is wanted yet
            _join(thread)
            raise
        except BaseException:  # such as Ctrl-C
            _stop(thread)
            raise
        _join(thread)

    def _try(self, item: Item) -> None:
        with contextlib.suppress(Exception, _StoppedError):
            self._done.append(self._work(item))


def _join(thread: Thread) -> None:
    """Waits for a thread's end; who interrupts the waiting ends it."""
    try:
        thread.join()
    except BaseException:
        _stop(thread)
        raise


def _stop(thread: Thread) -> None:
    """Ends a thread at its next line of Python, as Ctrl-C ends the main one.

    The process could end no sooner: Python waits for its threads, and one that it did not wait for
    would be at work in libraries that are torn down.
    """
    identity = ctypes.c_ulong(thread.ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(_StoppedError))
