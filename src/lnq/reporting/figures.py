"""Figures in one plain style, as text that stands inside a page or as files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.files import atomic_path

RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""One colour per run, in the order of the runs: Okabe and Ito's colour-blind-safe palette."""

_STYLE: dict[Any, Any] = {
    "font.size": 9, "text.color": "#1f2937", "svg.hashsalt": "lnq",
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelcolor": "#4b5563",
    "axes.edgecolor": "#9aa3ad", "axes.linewidth": 0.8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e7eaee", "grid.linewidth": 0.8,
    "xtick.color": "#4b5563", "xtick.major.size": 0,
    "ytick.color": "#4b5563", "ytick.major.size": 0,
}  # fmt: skip
_MIME = {"svg": "image/svg+xml", "webp": "image/webp"}


def colour_of(run: int) -> str:
    """The colour of the run with this place in the list; colours repeat after seven runs."""
    return RUN_COLOURS[run % len(RUN_COLOURS)]


@contextmanager
def plain_style() -> Iterator[None]:
    """A context in which figures get the report's plain style; the global one comes back after."""
    with matplotlib.rc_context(_STYLE):
        yield


def literal(text: str) -> str:
    """Text for a figure, with no character read as the start of a formula."""
    return text.replace("$", r"\$")


def data_uri(figure: Figure, kind: Literal["svg", "webp"]) -> str:
    """A drawn figure as the `src` of an image.

    Args:
        figure: What to draw; call this inside `plain_style`.
        kind: `svg` for lines and text, `webp` for pictures of scans.
    """
    buffer = io.BytesIO()
    options: dict[str, Any] = (
        {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"quality": 85}}
    )
    figure.savefig(buffer, format=kind, **options)
    return f"data:{_MIME[kind]};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all; the suffix of `path` chooses the format."""
    options: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    with plain_style(), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=160, **options)


def hide(axes: Axes) -> None:
    """Leaves only what is drawn inside: no frame, no ticks, no grid."""
    axes.set_axis_off()
    axes.grid(False)
