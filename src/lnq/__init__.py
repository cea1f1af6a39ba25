"""lnq: lymph-node segmentation from partial instance annotations (DBDMP, MELBA 2024:017).

`Segmenter` puts a trained network to use. It is imported when it is asked for: torch and SimpleITK
take seconds.
"""

import os
import pwd
import sys
import tempfile
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lnq.inference.post_processing import PostProcessing
    from lnq.inference.segmenter import Segmentation, Segmenter

__all__ = ["PostProcessing", "Segmentation", "Segmenter"]
__version__ = "0.1.0"

_MODULES = {
    "PostProcessing": "lnq.inference.post_processing",
    "Segmentation": "lnq.inference.segmenter",
    "Segmenter": "lnq.inference.segmenter",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


def _name_the_user() -> None:
    """Libraries ask for the user's name and home; in a container there may be neither."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("LOGNAME", f"uid{os.getuid()}")
        os.environ.setdefault("HOME", tempfile.gettempdir())


def _let_waiting_threads_sleep() -> None:
    """Forward and backward have a pool of threads each; spinning, they fight over the cores.

    OpenMP reads the variable when torch loads it. A program that only imports us keeps its own way
    of waiting.
    """
    if sys.argv[:1] == ["-m"]:  # `python -m lnq.NAME`, before NAME is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


_name_the_user()
_let_waiting_threads_sleep()
