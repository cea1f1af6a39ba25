"""Whether a scan's axes run the way its header says, told from the anatomy.

Claims are made only where anatomy leaves no doubt: a wrong one would turn a sound scan away. What
may be so in a patient (mirrored organs, lungs that widen upwards) is a note.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lnq.box import Box
from lnq.data.chest.lungs import Chest, within
from lnq.volume import Array

Mask = NDArray[np.bool_]

# A plane at the scan's edge that holds less body than this shows air; more than that, a cut body.
AIR_SHARE, CUT_SHARE = 0.02, 0.2
# The spine is the one bone that stands in nearly every slice at the same place near the middle.
BONE_HU = 200.0
SPINE_REACH_MM, SPINE_SMOOTHING_MM = 50.0, 12.0
LEAST_SPINE, SPINE_EXCESS = 0.15, 3.0
# The windpipe: air near the body's middle, apart from the lungs, in their upper two fifths alone.
# Four real scans show medians of 113 to 204 mm² there and of 0 to 9 in the lower two fifths.
WINDPIPE_HU, WINDPIPE_REACH_MM, LUNG_RIM_MM = -700.0, 25.0, 6.0
WINDPIPE_SHARE, WINDPIPE_MM2, NO_WINDPIPE_MM2 = 0.4, 60.0, 25.0
LEAST_LUNG_HEIGHT_MM = 150.0  # lower ones may be bases without a windpipe, above a stomach's gas
# The chest is a cone: lungs are wider near the diaphragm than near the neck.
CONE_LEVEL, CONE_EXCESS = 0.15, 1.4
# The heart reaches further from the spine's plane to the left: by 12 to 54 mm on real scans. Where
# it is looked for: level within the lungs, distance in front of the spine.
HEART_LEVELS, HEART_DEPTH_MM, HEART_EXCESS_MM = (0.2, 0.45), (50.0, 120.0), 10.0
SPINE_OFF_MIDDLE_MM = 10.0  # a spine further from the lungs' middle is no plane of symmetry
_CORRECT = "correct the orientation in the header, or convert the scan again"


def axes_swapped(outline: Mask) -> tuple[str, str] | None:
    """Tells swapped axes by the body's outline: a pair of cause and remedy, None if all is well.

    A chest scan cuts the body at its upper and lower ends, and shows air beside it.

    Args:
        outline: The body with all that lies inside, axes in LPS order as the header says.
    """
    if not outline.any() or ends(outline, 0)[1] > AIR_SHARE:
        return None
    for axis, name in ((1, "front-back"), (2, "left-right")):
        if ends(outline, axis)[0] > CUT_SHARE:
            return (
                f"the body is cut off at both ends of the {name} axis and free at both ends of "
                "the head-foot axis: the axes are swapped",
                _CORRECT,
            )
    return None


def axes_flipped(chest: Chest, outline: Mask) -> tuple[str, str] | None:
    """Tells flipped axes by spine and windpipe: a pair of cause and remedy, None if all is well.

    Args:
        chest: Body and lungs, axes in LPS order as the header says; its size is a chest's.
        outline: The body with all that lies inside.
    """
    if not chest.lungs.any():
        return None
    why = _spine_elsewhere(chest, outline) or _windpipe_below(chest, outline)
    return None if why is None else (why, _CORRECT)


def axes_note(chest: Chest, outline: Mask) -> str | None:
    """What is unusual about the lungs' or the heart's place, and what to do about it."""
    if not chest.lungs.any():
        return None
    if _cone_upside_down(chest.lungs):
        return (
            "the lungs are wider at the end that the header calls the head's: perhaps the z "
            "axis is upside down. If so, correct the orientation in the header"
        )
    if _heart_to_the_right(chest, outline):
        return (
            "the heart reaches further to the side that the header calls the right: perhaps left "
            "and right are mirrored. Unless the patient's organs are, correct the header"
        )
    return None


def ends(outline: Mask, axis: int) -> tuple[float, float]:
    """Share of body in the first and last plane along an axis, smaller one first."""
    first, last = (float(np.take(outline, at, axis=axis).mean()) for at in (0, -1))
    return min(first, last), max(first, last)


def whole_in_plane(outline: Mask) -> bool:
    """Whether air is seen on all four sides of the body."""
    return max(ends(outline, 1)[1], ends(outline, 2)[1]) <= AIR_SHARE


def _bone_column(chest: Chest, outline: Mask) -> Array:
    """How much bone stands above each place (y, x) at the lungs' height, smoothed, 0 to 1."""
    spacing = chest.coarse.grid.spacing_mm[1:]
    bone = (chest.coarse.array > BONE_HU) & outline
    share = bone[Box.around(chest.lungs).slices[0]].mean(axis=0)
    smooth: Array = ndimage.gaussian_filter(share, [SPINE_SMOOTHING_MM / step for step in spacing])
    return smooth


def _spine_elsewhere(chest: Chest, outline: Mask) -> str | None:
    """Finds the spine elsewhere than at the back, with nothing like it there."""
    if not whole_in_plane(outline):
        return None  # the body's middle is not known
    column = _bone_column(chest, outline)
    deep, wide = Box.around(outline[Box.around(chest.lungs).slices[0]].max(axis=0)).slices
    y, x = np.ogrid[: column.shape[0], : column.shape[1]]
    y_mm, x_mm = (
        (index - (where.start + where.stop - 1) / 2) * step
        for index, where, step in zip(
            (y, x), (deep, wide), chest.coarse.grid.spacing_mm[1:], strict=True
        )
    )
    sides = {
        "back": (y_mm > 0) & (abs(x_mm) < SPINE_REACH_MM),
        "front": (y_mm < 0) & (abs(x_mm) < SPINE_REACH_MM),
        "left": (x_mm >= SPINE_REACH_MM) & (abs(y_mm) < SPINE_REACH_MM),
        "right": (x_mm <= -SPINE_REACH_MM) & (abs(y_mm) < SPINE_REACH_MM),
    }
    peaks = {name: float(column[where].max(initial=0.0)) for name, where in sides.items()}
    side = max(peaks, key=lambda name: peaks[name])
    if peaks[side] < LEAST_SPINE or peaks[side] < SPINE_EXCESS * peaks["back"]:
        return None
    return (
        f"the spine lies on the side that the header calls the {side}: axes are flipped or swapped"
    )


def _windpipe_below(chest: Chest, outline: Mask) -> str | None:
    """Finds a windpipe in the lower part of the lungs' height, and none in the upper one."""
    tall = Box.around(chest.lungs).slices[0]
    dz, dy, dx = chest.coarse.grid.spacing_mm
    if (tall.stop - tall.start) * dz < LEAST_LUNG_HEIGHT_MM:
        return None
    where = Box.around(outline[tall].max(axis=0)).slices[1]
    x_mm = (np.arange(outline.shape[2]) - (where.start + where.stop - 1) / 2) * dx
    rim = within(chest.lungs[tall], LUNG_RIM_MM, (dz, dy, dx))
    air = (chest.coarse.array[tall] < WINDPIPE_HU) & outline[tall] & ~rim
    areas = (air & (np.abs(x_mm) < WINDPIPE_REACH_MM)).sum(axis=(1, 2)) * dy * dx
    part = max(1, round(WINDPIPE_SHARE * len(areas)))
    if np.median(areas[:part]) < WINDPIPE_MM2 or np.median(areas[-part:]) > NO_WINDPIPE_MM2:
        return None
    return (
        "the windpipe lies at the end that the header calls the feet's: the z axis is upside down"
    )


def _cone_upside_down(lungs: Mask) -> bool:
    """Whether whole lungs are much wider at the head's end than at the feet's."""
    if ends(lungs, 0)[1] > 0:
        return False  # cut lungs show only a part of the cone
    tall = Box.around(lungs).slices[0]
    length = tall.stop - tall.start
    feet, head = (
        _box_area(lungs[tall.start + int(level * length)]) for level in (CONE_LEVEL, 1 - CONE_LEVEL)
    )
    return head >= CONE_EXCESS * feet > 0


def _box_area(plane: Mask) -> float:
    """Area of the rectangle around a plane's voxels."""
    return float(np.prod(Box.around(plane).size))


def _heart_to_the_right(chest: Chest, outline: Mask) -> bool:
    """Whether, seen from the spine, the gap between the lungs reaches further to the right."""
    _, dy, dx = chest.coarse.grid.spacing_mm
    tall, _, wide = Box.around(chest.lungs).slices
    column = _bone_column(chest, outline)
    y, x = (int(at) for at in np.unravel_index(column.argmax(), column.shape))
    off_middle = abs(x - (wide.start + wide.stop - 1) / 2) * dx
    if column[y, x] < LEAST_SPINE or off_middle > SPINE_OFF_MIDDLE_MM:
        return False
    first, last = (tall.start + round(level * (tall.stop - tall.start)) for level in HEART_LEVELS)
    near, far = (max(0, y - round(depth / dy)) for depth in HEART_DEPTH_MM)
    rows = chest.lungs[first:last, far:near].reshape(-1, chest.lungs.shape[2])
    left, right = rows[:, x:], rows[:, x::-1]
    both = left.any(axis=1) & right.any(axis=1)
    if not both.any():
        return False
    excess = (right[both].argmax(axis=1) - left[both].argmax(axis=1)).mean() * dx
    return bool(excess >= HEART_EXCESS_MM)
