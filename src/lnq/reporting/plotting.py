"""Figures in one plain style, as SVG that stands inside a page or as files."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

from lnq.files import atomic_path

_INK, _SOFT, _AXIS, _GRID = "#1f2937", "#4b5563", "#9aa3ad", "#e7eaee"

RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", _INK)
"""One colour per run, in the order of the runs: Okabe and Ito's colour-blind-safe palette, with the
text's colour for its black, so that it can be light in a dark page."""
RUN_LINES = ("solid", "dashed", "dashdot", "dotted")
RUN_MARKERS = "osD^vPX"
_DASHES = {"solid": "", "dashed": "7 3", "dashdot": "10 3 2 3", "dotted": "2 3"}
PANEL_INCHES = (3.6, 2.35)
"""Size of one small plot: a phone's width, so that its text stays readable there."""

_STYLE: dict[Any, Any] = {
    "font.size": 9, "text.color": _INK, "svg.hashsalt": "lnq",
    "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.labelcolor": _SOFT,
    "axes.edgecolor": _AXIS, "axes.linewidth": 0.8, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": _GRID, "grid.linewidth": 0.8,
    "xtick.color": _SOFT, "xtick.major.size": 0,
    "ytick.color": _SOFT, "ytick.major.size": 0,
}  # fmt: skip
# The page sets these; in a dark one they are other colours.
_VARIABLES = {
    _INK: "var(--ink)", _SOFT: "var(--soft)", _AXIS: "var(--axis)", _GRID: "var(--line)",
}  # fmt: skip


@dataclass(frozen=True)
class RunStyle:
    """How a run is told from the others, with colour and without."""

    colour: str
    line: str
    marker: str

    @property
    def page_colour(self) -> str:
        """The colour for a style of the page."""
        return _VARIABLES.get(self.colour, self.colour)

    @property
    def dashes(self) -> str:
        """The line as a `stroke-dasharray` at a width of 2; empty where it is solid."""
        return _DASHES[self.line]

    @property
    def marker_path(self) -> str:
        """The marker as the `d` of an SVG path, in a field of 34 x 12."""
        path = MarkerStyle(self.marker)
        outline = path.get_path().transformed(
            path.get_transform() + Affine2D().scale(9, -9).translate(17, 6)
        )
        corners = np.asarray(outline.to_polygons(closed_only=True)[0])
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in corners) + "z"


@dataclass(frozen=True)
class Plot:
    """A small plot on the page.

    Attributes:
        title: What it shows.
        svg: The drawing, for `markup`-safe inclusion.
        note: What must be known to read it, if anything.
    """

    title: str
    svg: str
    note: str = ""


def colour_of(run: int) -> str:
    """The colour of the run with this place in the list; colours repeat after seven runs."""
    return RUN_COLOURS[run % len(RUN_COLOURS)]


def style_of(run: int) -> RunStyle:
    """Colour, line and marker of the run with this place in the list: 28 different lines."""
    return RunStyle(
        colour_of(run), RUN_LINES[run % len(RUN_LINES)], RUN_MARKERS[run % len(RUN_MARKERS)]
    )


@contextmanager
def plain_style() -> Iterator[None]:
    """A context in which figures get the report's plain style; the global one comes back after."""
    with matplotlib.rc_context(_STYLE):
        yield


@contextmanager
def panel(height: float = PANEL_INCHES[1]) -> Iterator[Axes]:
    """Axes of one small plot in the page's style, with text kept as text.

    Args:
        height: Inches.
    """
    with plain_style(), matplotlib.rc_context({"svg.fonttype": "none"}):
        yield Figure(figsize=(PANEL_INCHES[0], height), layout="constrained").subplots()


def literal(text: str) -> str:
    """Text for a figure, with no character read as the start of a formula."""
    return text.replace("$", r"\$")


def inline_svg(axes: Axes, tooltips: Sequence[str] = ()) -> str:
    """The drawing around `axes` as an `<svg>` element of the page; call this inside `panel`.

    Neutral colours become the page's variables, so that it can be dark.

    Args:
        axes: Of the figure to draw.
        tooltips: Texts of the points that are links, in the order of drawing.
    """
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    texts = iter(tooltips)
    for element in root.iter():
        # In HTML, SVG needs no namespaces; ids of groups would only repeat from plot to plot.
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: v for key, v in element.attrib.items()}
        if element.tag == "g":
            element.attrib.pop("id", None)
        if "style" in element.attrib:
            element.set("style", _with_variables(element.get("style", "")))
        if element.tag == "a":
            ElementTree.SubElement(element, "title").text = next(texts)
    for definitions in root.findall("defs"):
        for style in definitions.findall("style"):  # one rule for all elements of the page
            definitions.remove(style)
    root.attrib = {"viewBox": root.get("viewBox", "")}
    return ElementTree.tostring(root, encoding="unicode")


def _with_variables(style: str) -> str:
    return re.sub(
        r"#[0-9a-f]{6}", lambda match: _VARIABLES.get(match.group(), match.group()), style
    )


def save(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all; the suffix of `path` chooses the format."""
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix)
    # Letters stay letters in a PDF, as journals ask.
    with plain_style(), matplotlib.rc_context({"pdf.fonttype": 42}), atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=300, metadata=undated)


def hide(axes: Axes) -> None:
    """Leaves only what is drawn inside: no frame, no ticks, no grid."""
    axes.set_axis_off()
    axes.grid(False)
