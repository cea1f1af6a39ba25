"""How datasets lie on a disk: each layout lists its cases, checked before any work starts."""

from typing import Protocol

from lnq.data.case import Case
from lnq.data.datasets.lnq2023 import Lnq2023Layout
from lnq.data.datasets.nnunet import NnunetLayout
from lnq.data.datasets.pairs import PairsLayout
from lnq.data.datasets.phantom import PhantomLayout
from lnq.data.datasets.scans import ScansLayout
from lnq.data.datasets.tcia import TciaLayout


class Layout(Protocol):
    """Anything that can list a dataset's cases."""

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id; raises `UsageError` where the list is unsound."""
        ...


def listed(layout: Layout) -> list[Case]:
    """The cases of a layout; a phantom that is not there yet is written first.

    Raises:
        UsageError: The list is unsound, or the phantom's folder holds another one.
    """
    if isinstance(layout, PhantomLayout):
        layout.write()
    return layout.cases()


__all__ = [
    "Layout",
    "Lnq2023Layout",
    "NnunetLayout",
    "PairsLayout",
    "PhantomLayout",
    "ScansLayout",
    "TciaLayout",
    "listed",
]
