"""Draws overviews of phantoms: three planes, annotated nodes green, hidden ones red.

`python -m lnq.data.phantom.picture OUTPUT_FOLDER [SEED ...]` writes `phantom_SEED.png` there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.data.phantom.annotation import LargestNodes
from lnq.data.phantom.phantom_case import PhantomCase, make_case
from lnq.volume import Volume, reorient

WINDOW_HU = (-160.0, 240.0)


def overview(case: PhantomCase) -> Figure:
    """Draws three planes through the largest annotated and through the largest hidden node."""
    image = reorient(case.image)
    labels = reorient(case.instances).array
    annotated = np.isin(labels, sorted(case.annotated))
    hidden = (labels > 0) & ~annotated
    kinds = [kind for kind in (annotated, hidden) if kind.any()]
    figure = Figure(figsize=(15, 5 * len(kinds)), facecolor="black", layout="tight")
    for row, kind in zip(figure.subplots(len(kinds), 3, squeeze=False), kinds, strict=True):
        node = np.bincount(labels[kind]).argmax()
        centre = np.stack(np.nonzero(labels == node)).mean(axis=1).round().astype(int)
        for axis, plot in enumerate(row):
            _draw_plane(plot, image, annotated, hidden, axis, int(centre[axis]))
    return figure


def _draw_plane(
    plot: Axes, image: Volume, annotated: np.ndarray, hidden: np.ndarray, axis: int, index: int
) -> None:
    spacing = [s for n, s in enumerate(image.grid.spacing_mm) if n != axis]
    origin: Literal["upper", "lower"] = "upper" if axis == 0 else "lower"
    low, high = WINDOW_HU
    plot.imshow(
        image.array.take(index, axis), cmap="gray", vmin=low, vmax=high, origin=origin,
        aspect=spacing[0] / spacing[1], interpolation="bilinear",
    )  # fmt: skip
    for mask, colour in ((annotated, "lime"), (hidden, "red")):
        cut = mask.take(index, axis)
        if cut.any():
            plot.contour(cut, levels=[0.5], colors=colour, linewidths=0.9, origin=None)
    plot.set_axis_off()


def main() -> None:
    """Writes one picture a seed."""
    folder = Path(sys.argv[1])
    for seed in [int(text) for text in sys.argv[2:]] or [0, 1, 2]:
        case = make_case(seed, "train", 1, LargestNodes())
        overview(case).savefig(folder / f"phantom_{seed}.png", dpi=70)


if __name__ == "__main__":
    main()
