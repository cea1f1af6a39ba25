"""Masks of some of a phantom's organs, as a segmenter of organs would leave them, with its errors.

Named as TotalSegmentator names its structures. What looks like a node and has no mask remains:
azygos, small vessels, vessels of the chest wall. Errors are drawn for each structure:

- one in twelve is missing;
- its boundary lies inside or outside of the organ's by some 0.7 mm throughout, and ripples about
  that by as much again. So it covers a node beside it here and there: 0.3 % of the nodes' voxels
  lie in masks (eight phantoms), of a single node up to 7 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lnq.data.phantom.canvas import Canvas
from lnq.data.phantom.render import lung_distance, smooth_noise
from lnq.data.phantom.scanner import Acquisition
from lnq.data.phantom.shapes import FloatArray
from lnq.data.phantom.thorax import Thorax
from lnq.volume import Mask

MISSING = 1 / 12
BOUNDARY_MM, RIPPLE_MM = 0.7, 0.7
"""Standard deviations of a boundary's mean error and of its waves, which are about 10 mm long."""
_REACH_MM = 6.0  # no boundary errs by more

_SIDES = ("right", "left")
_ORGANS: Mapping[str, Sequence[str]] = {
    "heart": ("myocardium", "right atrium wall", "left atrium", "right atrium", "right ventricle",
              "left ventricle"),
    "aorta": ("aorta",),
    "pulmonary_artery": ("pulmonary trunk", "right pulmonary artery", "left pulmonary artery"),
    "pulmonary_vein": tuple(f"{side} {height} pulmonary vein" for side in _SIDES
                            for height in ("superior", "inferior")),
    "superior_vena_cava": ("superior vena cava",),
    "inferior_vena_cava": ("inferior vena cava",),
    "brachiocephalic_trunk": ("brachiocephalic artery",),
    **{f"common_carotid_artery_{side}": (f"{side} carotid",) for side in _SIDES},
    **{f"subclavian_artery_{side}": (f"{side} subclavian",) for side in _SIDES},
    **{f"brachiocephalic_vein_{side}": (f"{side} brachiocephalic vein",) for side in _SIDES},
    "esophagus": ("oesophagus",),
    "trachea": ("airway wall",),
    "stomach": ("stomach",),
    "spleen": ("spleen",),
    "vertebrae": ("spine cortex", "disc", "arch", "spinous process", "transverse process", "canal"),
}  # fmt: skip
"""Which of a thorax's solids a structure is made of, by their names."""


def organ_masks(
    thorax: Thorax, acquisition: Acquisition, rng: np.random.Generator
) -> dict[str, Mask]:
    """The masks of one scan by the names of their structures, some missing; bool `z y x`.

    Args:
        thorax: what was drawn.
        acquisition: where it was scanned.
        rng: generator of this case's organs; nothing else is drawn from it.
    """
    canvas = Canvas(acquisition.grid, acquisition.offset_mm)
    noise = smooth_noise(canvas.shape, rng)
    masks = {}
    for name, distance in _distances(thorax, canvas):
        is_missing = rng.random() < MISSING
        # The same noise for all, moved: neighbours err apart from each other.
        ripple = np.roll(noise, rng.integers(canvas.shape), axis=(0, 1, 2))
        offset = rng.normal(0, BOUNDARY_MM)
        if not is_missing:
            masks[name] = _by_slice(distance + RIPPLE_MM * ripple < offset, canvas)
    return masks


def _distances(thorax: Thorax, canvas: Canvas) -> Iterator[tuple[str, FloatArray]]:
    """Signed distance to each structure, right near its surface, in an order that is fixed."""
    for name, parts in _ORGANS.items():
        distance = np.full(canvas.shape, _REACH_MM, np.float32)
        for organ in (*thorax.bones, *thorax.organs):
            reached = canvas.distance(organ.shape, _REACH_MM) if organ.name in parts else None
            if reached is not None:
                box, near = reached
                np.minimum(distance[box], near, out=distance[box])
        yield name, distance
    lungs, x = lung_distance(thorax, canvas), canvas.xyz[0]
    yield "lung_right", np.maximum(lungs, x)
    yield "lung_left", np.maximum(lungs, -x)


def _by_slice(inside: NDArray[np.bool_], canvas: Canvas) -> Mask:
    """The voxels of which at least half of the sub-slices are inside."""
    parts = inside.reshape(-1, canvas.factor, *canvas.shape[1:])
    mask: Mask = parts.mean(axis=1) >= 0.5
    return mask
