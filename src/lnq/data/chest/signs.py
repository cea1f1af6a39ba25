"""Signs of how a chest lies, each by one organ.

Levels are of the lungs' volume, so that a little gas of the bowel that counts as lung moves none.
What the numbers were measured on: three whole real chests (voxels of 3 to 10 mm, and block means of
them of 6 to 12 mm), two cuts of others, and phantoms.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from lnq.box import Box
from lnq.data.chest.lungs import Chest
from lnq.data.chest.morphology import within
from lnq.data.chest.outline import ends
from lnq.volume import Mask

Verdict = Literal["right", "wrong"] | None
"""What a sign says of the header; None = it cannot be seen, or is not plain."""

# The windpipe: air near the body's middle, apart from the lungs, in their upper two fifths alone:
# 113 to 204 mm² there, and 0 to 9 in the lower two fifths. Gas of a stomach is wider.
WINDPIPE_HU, WINDPIPE_REACH_MM, LUNG_RIM_MM = -700.0, 25.0, 6.0
WINDPIPE_SHARE, WINDPIPE_MM2, NO_WINDPIPE_MM2 = 0.4, (60.0, 700.0), 25.0
LEAST_LUNG_HEIGHT_MM = 150.0  # lower ones may be bases without a windpipe, above a stomach's gas
# The chest is a cone, and the diaphragm arches into the lungs: at the bases they are wider, and lie
# nearer to the edge of what they cover. Bases to apices: 1.4 to 2.9, and 0.64 to 0.83.
END_SHARE = 0.15
CONE, DOME = 1.2, 0.9
# The heart parts the lungs in their lower half: 1.24 to 2.1 times as far as above; and in front:
# 1.26 to 2.1 times as far as at the back.
HEART = 1.2
LOWER, UPPER = (0.15, 0.45), (0.6, 0.85)
LEAST_GAP_MM = 15.0  # less is no mediastinum: one lung in view, or a cut through it
COUCH_HU, COUCH = -940.0, 5.0  # plates beyond the body on one side, so many times as on the other
LEAST_COUCH_L = 0.02


def windpipe(chest: Chest, outline: Mask) -> Verdict:
    """Whether it lies in the upper part of the lungs' height alone, or in the lower one."""
    tall = Box.around(chest.lungs).slices[0]
    dz, dy, dx = chest.coarse.grid.spacing_mm
    if (tall.stop - tall.start) * dz < LEAST_LUNG_HEIGHT_MM:
        return None
    x_mm = (np.arange(outline.shape[2]) - _middle(outline[tall])) * dx
    rim = within(chest.lungs[tall], LUNG_RIM_MM, (dz, dy, dx))
    air = (chest.coarse.array[tall] < WINDPIPE_HU) & outline[tall] & ~rim
    areas = (air & (np.abs(x_mm) < WINDPIPE_REACH_MM)).sum(axis=(1, 2)) * dy * dx
    part = max(1, round(WINDPIPE_SHARE * len(areas)))
    low, high = (float(np.median(one)) for one in (areas[:part], areas[-part:]))
    least, most = WINDPIPE_MM2
    if least <= high <= most and low <= NO_WINDPIPE_MM2:
        return "right"
    return "wrong" if least <= low <= most and high <= NO_WINDPIPE_MM2 else None


def taper(lungs: Mask, chest: Chest) -> Verdict:
    """Whether whole lungs are wide and hollow at the feet's end, or at the head's."""
    if ends(lungs, 0)[1] > 0:
        return None  # cut lungs show only a part of the cone
    _, dy, dx = chest.coarse.grid.spacing_mm
    share = np.cumsum(lungs.sum(axis=(1, 2))) / lungs.sum()
    bases, apices = lungs[share <= END_SHARE], lungs[share >= 1 - END_SHARE]
    if not bases.any() or not apices.any():
        return None
    inside = ndimage.distance_transform_edt(np.pad(lungs.any(axis=0), 1), sampling=(dy, dx))
    inside = inside[1:-1, 1:-1]
    cone = _box_area(bases) / _box_area(apices)
    dome = float((bases * inside).sum() / bases.sum() / ((apices * inside).sum() / apices.sum()))
    if cone >= CONE and dome <= DOME:
        return "right"
    return "wrong" if cone <= 1 / CONE and dome >= 1 / DOME else None


def heart_below(chest: Chest, outline: Mask) -> Verdict:
    """Whether the lungs are further apart in their lower half, or in their upper one."""
    share = np.cumsum(chest.lungs.sum(axis=(1, 2))) / chest.lungs.sum()
    low, high = (
        _gap(chest, outline, chest.lungs[(share >= first) & (share <= last)])
        for first, last in (LOWER, UPPER)
    )
    return _compared(low, high)


def front_of_the_heart(chest: Chest, outline: Mask) -> Verdict:
    """Whether the lungs are further apart in their front third, or in the one at the back."""
    if not chest.lungs.any():
        return None
    share = np.cumsum(chest.lungs.sum(axis=(1, 2))) / chest.lungs.sum()
    lower = chest.lungs[(share >= LOWER[0]) & (share <= LOWER[1])]
    deep = Box.around(chest.lungs).slices[1]
    third = max(1, (deep.stop - deep.start) // 3)
    front, back = (
        _gap(chest, outline, lower[:, rows])
        for rows in (
            slice(deep.start, deep.start + third), slice(deep.stop - third, deep.stop),
        )
    )  # fmt: skip
    return _compared(front, back)


def couch(chest: Chest, outline: Mask, spine: Literal["front", "left", "right"]) -> Verdict:
    """Whether a couch lies beyond the body where the spine was found; a patient lies on the back.

    Args:
        chest: What is seen of the scan.
        outline: The body with all that lies inside.
        spine: The side.
    """
    axis, first = {"front": (1, True), "left": (2, False), "right": (2, True)}[spine]
    body = Box.around(outline).slices[axis]
    solid = np.moveaxis(chest.coarse.array > COUCH_HU, axis, 0)
    # One plane further: the skin's partial volume.
    before, behind = solid[: max(0, body.start - 1)].sum(), solid[body.stop + 1 :].sum()
    here, there = (before, behind) if first else (behind, before)
    litre = chest.coarse.grid.voxel_volume_mm3 / 1e6
    if max(here, there) * litre < LEAST_COUCH_L:
        return None
    if here >= COUCH * there:
        return "wrong"
    return "right" if axis == 1 and there >= COUCH * here else None


def _gap(chest: Chest, outline: Mask, lungs: Mask) -> float | None:
    """Mean distance between left and right lung in rows that hold both, mm."""
    middle = int(_middle(outline))
    rows = lungs.reshape(-1, lungs.shape[2])
    right, left = rows[:, :middle][:, ::-1], rows[:, middle:]
    both = right.any(axis=1) & left.any(axis=1)
    if not both.any():
        return None
    between = right[both].argmax(axis=1) + left[both].argmax(axis=1)
    return float(between.mean() * chest.coarse.grid.spacing_mm[2])


def _compared(here: float | None, there: float | None) -> Verdict:
    if here is None or there is None or min(here, there) < LEAST_GAP_MM:
        return None
    if here >= HEART * there:
        return "right"
    return "wrong" if there >= HEART * here else None


def _middle(outline: Mask) -> float:
    """The body's middle column."""
    where = Box.around(outline.max(axis=0)).slices[1]
    return (where.start + where.stop - 1) / 2


def _box_area(lungs: Mask) -> float:
    """Area of the rectangle around what lungs cover in a plane."""
    covered: Mask = np.logical_or.reduce(lungs, axis=0)
    return float(np.prod(Box.around(covered).size))
