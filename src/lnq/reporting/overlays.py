"""Three slices through one place of a scan, with what is true and what was predicted on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage

from lnq.errors import CaseError
from lnq.reporting.figures import data_uri, hide, plain_style
from lnq.volume import Array, Grid, components

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: width 400 HU, level 40 HU."""
VIEW_MM = 120.0
"""Longest side of the region shown around the focus, mm."""

_SCALE_BAR_MM = 20.0
_HALO = [withStroke(linewidth=2.0, foreground="#000000")]


@dataclass(frozen=True)
class Line:
    """How one kind of outline is drawn and what it means."""

    colour: str
    style: str
    width: float
    meaning: str


# Okabe and Ito's colours; line styles tell the kinds apart without any colour.
LINES: Mapping[str, Line] = {
    "found": Line("#56B4E9", "solid", 1.5, "reference node, found"),
    "missed": Line("#E69F00", "solid", 2.2, "reference node, missed"),
    "prediction": Line("#F0E442", "dashed", 1.2, "prediction"),
    "false_positive": Line("#CC79A7", "dashed", 1.8, "prediction that touches no reference node"),
    "annotated": Line("#FFFFFF", "dotted", 1.3, "annotated for training"),
}

# Plane: array axis across the slice, axes shown as rows and columns, whether rows count upwards,
# and the patient's sides at the left, right, top and bottom of the picture (axes run towards left,
# back and head).
_PLANES = (
    ("axial", 0, 1, 2, False, "RLAP"),
    ("coronal", 1, 0, 2, True, "RLHF"),
    ("sagittal", 2, 0, 1, True, "APHF"),
)


@dataclass(frozen=True)
class Scene:
    """What one picture shows; all arrays `z y x` on one grid whose axes run in LPS order.

    Attributes:
        image: HU.
        grid: Grid of all arrays.
        layers: Boolean masks by the keys of `LINES`.
    """

    image: Array
    grid: Grid
    layers: Mapping[str, NDArray[np.bool_]]


def layers_of(
    reference: Array,
    prediction: NDArray[np.bool_],
    annotation: NDArray[np.bool_] | None,
    detected: Mapping[int, bool],
    *,
    numbered: bool,
) -> dict[str, NDArray[np.bool_]]:
    """Sorts reference and prediction into what was found, missed and wrong.

    Args:
        reference: Label `z y x`.
        prediction: Boolean mask `z y x`.
        annotation: Partial label used in training, `z y x`, if any.
        detected: Per node number of the evaluation, whether it was detected.
        numbered: Whether the label's values are the nodes' numbers; else its components are.

    Returns:
        Boolean masks by the keys of `LINES`.

    Raises:
        CaseError: The reference has other nodes than the evaluation lists.
    """
    # Nodes fill little of a scan: everything happens in the box that holds all of them.
    occupied = ndimage.find_objects(((reference > 0) | prediction).view(np.uint8))
    box = occupied[0] if occupied else np.s_[:0, :0, :0]
    label, mask = reference[box], prediction[box]
    nodes = label if numbered else components(label > 0)[0]
    if set(np.unique(nodes)) - {0} != set(detected):
        raise CaseError(
            "the reference has changed since it was evaluated", remedy="run evaluate again"
        )
    found = np.isin(nodes, [number for number, hit in detected.items() if hit])
    pieces = components(mask)[0]
    right = np.isin(pieces, np.setdiff1d(pieces[label > 0], [0]))
    parts = {
        "found": found,
        "missed": (label > 0) & ~found,
        "prediction": right,
        "false_positive": mask & ~right,
    }
    layers = {key: np.zeros(reference.shape, dtype=bool) for key in parts}
    for key, part in parts.items():
        layers[key][box] = part
    return layers if annotation is None else {**layers, "annotated": annotation}


def draw_scene(scene: Scene, focus_mm: tuple[float, float, float]) -> str:
    """Axial, coronal and sagittal slices through one place, as the `src` of an image.

    Args:
        scene: What to show.
        focus_mm: World position `(x, y, z)` in LPS, mm; the nearest voxel's slices are shown.
    """
    index = np.round(scene.grid.to_index(np.asarray(focus_mm))).astype(int)
    index = np.clip(index, 0, np.asarray(scene.grid.size) - 1)
    boxes = _view(scene.grid, index)
    extents = np.array([(b.stop - b.start) * s for b, s in
                        zip(boxes, scene.grid.spacing_mm, strict=True)])  # fmt: skip
    widths = [extents[columns] for _, _, _, columns, _, _ in _PLANES]
    heights = [extents[rows] for _, _, rows, _, _, _ in _PLANES]
    scale = 10.2 / sum(widths)
    with plain_style():
        figure = Figure(figsize=(10.2, max(heights) * scale), dpi=110, facecolor="#000000")
        grid = figure.subplots(
            1, 3, width_ratios=widths,
            gridspec_kw={"left": 0, "right": 1, "top": 1, "bottom": 0, "wspace": 0.01},
        )  # fmt: skip
        for axes, plane in zip(grid, _PLANES, strict=True):
            _draw_plane(axes, scene, index, boxes, plane)
        return data_uri(figure, "webp")


def _view(grid: Grid, index: Array) -> tuple[slice, ...]:
    """The box around the focus, moved inside the scan where it would stick out."""
    boxes = []
    for centre, size, spacing in zip(index, grid.size, grid.spacing_mm, strict=True):
        length = min(size, max(1, round(VIEW_MM / spacing)))
        start = min(max(0, int(centre) - length // 2), size - length)
        boxes.append(slice(start, start + length))
    return tuple(boxes)


def _draw_plane(
    axes: Axes, scene: Scene, index: Array, boxes: tuple[slice, ...], plane: tuple[Any, ...]
) -> None:
    _, normal, rows, columns, upwards, sides = plane
    cut: list[slice | int] = list(boxes)
    cut[normal] = int(index[normal])
    box = tuple(cut)
    image = scene.image[box]
    height, width = scene.grid.spacing_mm[rows], scene.grid.spacing_mm[columns]
    bottom, right = image.shape[0] * height, image.shape[1] * width
    hide(axes)
    axes.imshow(
        image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear",
        origin="lower" if upwards else "upper", aspect="equal",
        extent=(0, right, 0, bottom) if upwards else (0, right, bottom, 0),
    )  # fmt: skip
    x = (np.arange(image.shape[1]) + 0.5) * width
    y = (np.arange(image.shape[0]) + 0.5) * height
    for key, mask in scene.layers.items():
        section = mask[box]
        if min(section.shape) > 1 and section.any() and not section.all():
            line = LINES[key]
            axes.contour(x, y, section.astype(float), levels=[0.5], colors=line.colour,
                         linestyles=line.style, linewidths=line.width)  # fmt: skip
    _write_sides(axes, sides)
    if normal == 0:
        _draw_scale(axes, right, bottom)


def _write_sides(axes: Axes, sides: str) -> None:
    places = ((0.015, 0.5), (0.985, 0.5), (0.5, 0.985), (0.5, 0.015))
    anchors = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    for side, (x, y), (across, along) in zip(sides, places, anchors, strict=True):
        axes.text(x, y, side, transform=axes.transAxes, ha=across, va=along,
                  color="#ffffff", fontsize=10, path_effects=_HALO)  # fmt: skip


def _draw_scale(axes: Axes, right: float, bottom: float) -> None:
    """A bar of 20 mm in the lower left corner of a slice whose rows count downwards."""
    x, y = 0.04 * right, 0.95 * bottom
    axes.add_patch(Rectangle((x, y), _SCALE_BAR_MM, 0.012 * bottom, fc="#ffffff", ec="#000000"))
    axes.text(
        x,
        y - 0.012 * bottom,
        f"{_SCALE_BAR_MM:g} mm",
        color="#ffffff",
        fontsize=9,
        path_effects=_HALO,
    )
