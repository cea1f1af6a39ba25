"""What the corruptions of Model Genesis do to a patch, side by side (the paper's Fig. 2)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.data.patches.corruption import BezierIntensity, GenesisCorruption, RandomBezierIntensity
from lnq.data.patches.corruption.bezier import PERCENTILES
from lnq.reporting.plotting import RUN_COLOURS, hide, plain_style
from lnq.volume import Array, Volume

_WIDTH = 11.5  # inches
_ORIGINAL, _IN_PAINTING = "patch as it is", "in-painting"


def corrupted(patch: Array, corruption: GenesisCorruption, seed: int) -> dict[str, Array]:
    """A patch, each corruption of it alone, and all together, by title.

    Args:
        patch: z y x.
        corruption: The rules from which every corruption is drawn once.
        seed: Of the draws.
    """
    shape = (patch.shape[0], patch.shape[1], patch.shape[2])
    rng = np.random.default_rng(seed)
    (shuffling,) = corruption.shuffling.draw(shape, rng)
    rising, turned = _curves(seed)
    (inside,) = corruption.in_painting.draw(shape, rng)
    (outside,) = corruption.out_painting.draw(shape, rng)
    return {
        _ORIGINAL: patch,
        "Bezier curve, rising": rising.corrupt(patch),
        "Bezier curve, inverted": turned.corrupt(patch),
        "local shuffling": shuffling.corrupt(patch),
        _IN_PAINTING: inside.corrupt(patch),
        "out-painting": outside.corrupt(patch),
        "shuffled, mapped, out-painted": outside.corrupt(rising.corrupt(shuffling.corrupt(patch))),
    }


def corruption_figure(patch: Volume, corruption: GenesisCorruption, seed: int = 0) -> Figure:
    """One axial slice of a patch under each corruption, and the curves that map its intensities.

    All pictures have the grey window of the patch as it is. The slice is the one in which
    in-painting changes most.

    Args:
        patch: Normalised intensities.
        corruption: The rules to draw from.
        seed: Of the draws.
    """
    pictures = corrupted(patch.array, corruption, seed)
    changed = (pictures[_IN_PAINTING] != patch.array).sum(axis=(1, 2))
    index = int(np.argmax(changed))
    low, high = np.percentile(patch.array, PERCENTILES)
    _, rows_mm, columns_mm = patch.grid.spacing_mm
    shape_ratio = patch.array.shape[1] * rows_mm / (patch.array.shape[2] * columns_mm)
    with plain_style():
        # As high as two rows of pictures with their titles, and the line below.
        height = 2 * (_WIDTH / 4 * np.clip(shape_ratio, 0.35, 1.5) + 0.25) + 0.45
        figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
        axes = figure.subplots(2, 4).ravel()
        for plot, (title, picture) in zip(axes, pictures.items(), strict=False):
            plot.imshow(
                picture[index].astype(np.float32), cmap="gray", vmin=low, vmax=high,
                aspect=rows_mm / columns_mm, interpolation="nearest",
            )  # fmt: skip
            plot.set_title(title)
            hide(plot)
        _draw_curves(axes[-1], _curves(seed), float(low), float(high))
        figure.supxlabel(
            f"axial slice {index + 1} of {len(patch.array)}; grey from {low:.2g} to {high:.2g}, the"
            " 0.1 and 99.9 percentiles of the normalised intensities",
            x=0.01, ha="left", fontsize=8, color="#4b5563",
        )  # fmt: skip
    return figure


def _curves(seed: int) -> tuple[BezierIntensity, BezierIntensity]:
    """One curve, sorted and not."""
    (drawn,) = RandomBezierIntensity().draw((1, 1, 1), np.random.default_rng([seed, 1]))
    return BezierIntensity(drawn.inner, monotone=True), BezierIntensity(drawn.inner, monotone=False)


def _draw_curves(
    plot: Axes, curves: tuple[BezierIntensity, BezierIntensity], low: float, high: float
) -> None:
    share = np.linspace(0, 1, 201)
    for curve, name, colour in zip(curves, ("rising", "inverted"), RUN_COLOURS, strict=False):
        values = low + (high - low) * curve.values(share)
        plot.plot(low + (high - low) * share, values, color=colour, label=name)
    plot.set_title("intensity maps")
    plot.set_xlabel("before", fontsize=8)
    plot.set_ylabel("after", fontsize=8)
    plot.tick_params(labelsize=8)
    # On the side where there is no picture to push away.
    plot.yaxis.tick_right()
    plot.yaxis.set_label_position("right")
    plot.legend(frameon=False, fontsize=8)
