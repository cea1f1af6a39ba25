"""How datasets lie on a disk: each layout lists its cases, checked before any work starts."""

from typing import Protocol

from lnq.data.case import Case
from lnq.data.layouts.lnq2023 import Lnq2023Layout
from lnq.data.layouts.nnunet import NnunetLayout
from lnq.data.layouts.pairs import PairsLayout
from lnq.data.layouts.phantom import PhantomLayout
from lnq.data.layouts.scans import ScansLayout
from lnq.data.layouts.tcia import TciaLayout


class Layout(Protocol):
    """Anything that can list a dataset's cases."""

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id; raises `UsageError` where the list is unsound."""
        ...


__all__ = [
    "Layout",
    "Lnq2023Layout",
    "NnunetLayout",
    "PairsLayout",
    "PhantomLayout",
    "ScansLayout",
    "TciaLayout",
]
