"""Whether a scan's axes run the way its header says, told from the anatomy.

A scan is turned away only where two signs that do not depend on each other say so and none speaks
against it: a wrong claim would lose a sound scan. Where one says so alone, that is a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from lnq.box import Box
from lnq.data.chest.lungs import Chest
from lnq.data.chest.outline import AIR_SHARE, ends, whole_in_plane
from lnq.data.chest.signs import (
    Verdict,
    couch,
    front_of_the_heart,
    heart_below,
    taper,
    windpipe,
)
from lnq.volume import Array, Mask

Side = Literal["front", "left", "right"]

# A plane at the scan's edge that holds more body than this cuts it.
CUT_SHARE = 0.2
# The spine is the one bone that stands in nearly every slice at the same place near the middle.
BONE_HU = 200.0
SPINE_REACH_MM, SPINE_SMOOTHING_MM = 50.0, 12.0
LEAST_SPINE, SPINE_EXCESS = 0.15, 3.0
AXIS_EXCESS = 1.5  # how much more bone stands along the spine than along another axis
DEEPER_THAN_WIDE = 1.1  # a body lying on its back or front is 0.7 to 0.9 as deep as wide
# The heart reaches further from the spine's plane to the left: by 12 to 54 mm on real scans. Where
# it is looked for: level within the lungs, distance in front of the spine.
HEART_LEVELS, HEART_DEPTH_MM, HEART_EXCESS_MM = (0.2, 0.45), (50.0, 120.0), 10.0
HEART_ROWS = 0.6  # part of the rows that must agree
LEAST_LUNG = 0.3  # the smaller lung's part of both: with less, the heart is drawn to its side
SPINE_OFF_MIDDLE_MM = 10.0  # a spine further from the lungs' middle is no plane of symmetry
_CORRECT = "correct the orientation in the header, or convert the scan again"


@dataclass(frozen=True)
class Claim:
    """What the anatomy says against the header.

    Attributes:
        what: What is wrong, and by which signs.
        certain: Whether signs agree; False = perhaps.
    """

    what: str
    certain: bool

    @property
    def fault(self) -> tuple[str, str] | None:
        """Cause and remedy, where it is certain."""
        return (self.what, _CORRECT) if self.certain else None

    @property
    def note(self) -> str | None:
        """A sentence and what to do, where it is not certain."""
        return None if self.certain else f"perhaps {self.what}. If so, correct the header"


def claims(chest: Chest, outline: Mask) -> list[Claim]:
    """What speaks against the header's axes.

    Args:
        chest: Body and lungs, axes in LPS order as the header says; its size is a chest's.
        outline: The body with all that lies inside.
    """
    candidates = [_upside_down(chest, outline), _spine_elsewhere(chest, outline)]
    said = [claim for claim in candidates if claim is not None]
    return said or [claim for claim in [_mirrored(chest, outline)] if claim is not None]


def axes_swapped(chest: Chest, outline: Mask) -> Claim | None:
    """Tells swapped axes by the body's outline and the spine.

    A chest scan cuts the body at its upper and lower ends, and shows air beside it.

    Args:
        chest: Body and lungs, axes in LPS order as the header says.
        outline: The body with all that lies inside.
    """
    if not outline.any() or ends(outline, 0)[1] > AIR_SHARE:
        return None
    for axis, name in ((1, "front-back"), (2, "left-right")):
        if ends(outline, axis)[0] > CUT_SHARE:
            bone = (chest.coarse.array > BONE_HU) & outline
            along = _column(bone, chest, axis).max()
            spine = bool(along >= AXIS_EXCESS * _column(bone, chest, 0).max() > 0)
            return Claim(
                f"the body is cut off at both ends of the {name} axis and free at both ends of the "
                f"head-foot axis{', and the spine runs along the former' if spine else ''}: the "
                "axes are swapped",
                spine,
            )
    return None


def _weighed(verdicts: Mapping[str, Verdict], what: str) -> Claim | None:
    """A claim by all signs that can be seen; None where as many speak against it.

    Args:
        verdicts: What each says, by the words for what it sees.
        what: The conclusion.
    """
    seen = [verdict for verdict in verdicts.values() if verdict is not None]
    wrong = [words for words, verdict in verdicts.items() if verdict == "wrong"]
    if 2 * len(wrong) <= len(seen):
        return None
    certain = len(wrong) >= 2 and len(wrong) == len(seen)
    how_sure = "" if certain else f" ({len(wrong)} of the {len(seen)} signs seen)"
    return Claim(f"{' and '.join(wrong)}: {what}{how_sure}", certain)


def _upside_down(chest: Chest, outline: Mask) -> Claim | None:
    if not chest.lungs.any():
        return None
    return _weighed(
        {
            "the windpipe lies at the end that the header calls the feet's": windpipe(
                chest, outline
            ),
            "the lungs taper towards the end that it calls the feet's": taper(chest.lungs, chest),
            "the heart lies at the end that it calls the head's": heart_below(chest, outline),
        },
        "the z axis is upside down",
    )


def _spine_elsewhere(chest: Chest, outline: Mask) -> Claim | None:
    """Finds the spine elsewhere than at the back, with nothing like it there."""
    side = _side_of_spine(chest, outline)
    if side is None:
        return None
    deep, wide = (
        length * step
        for length, step in zip(
            Box.around(outline.max(axis=0)).size, chest.coarse.grid.spacing_mm[1:], strict=True
        )
    )
    others: dict[str, Verdict] = {f"the couch on the {side}": couch(chest, outline, side)}
    if side == "front":
        others["the heart at the back"] = front_of_the_heart(chest, outline)
    elif deep >= DEEPER_THAN_WIDE * wide:
        others["a body deeper than wide"] = "wrong"
    spine: dict[str, Verdict] = {
        f"the spine lies on the side that the header calls the {side}": "wrong"
    }
    return _weighed(spine | others, "axes are flipped or swapped")


def _side_of_spine(chest: Chest, outline: Mask) -> Side | None:
    if not whole_in_plane(outline):
        return None  # the body's middle is not known
    tall = _height(chest)
    thirds = [part for part in np.array_split(np.arange(len(outline))[tall], 3) if len(part)]
    bone = (chest.coarse.array > BONE_HU) & outline
    # The weakest of three: contrast medium in heart and vessels is as bright, but not all the way.
    column = np.min([_column(bone[part], chest, 0) for part in thirds], axis=0)
    deep, wide = Box.around(outline[tall].max(axis=0)).slices
    y, x = np.ogrid[: column.shape[0], : column.shape[1]]
    y_mm, x_mm = (
        (index - (where.start + where.stop - 1) / 2) * step
        for index, where, step in zip(
            (y, x), (deep, wide), chest.coarse.grid.spacing_mm[1:], strict=True
        )
    )
    regions: dict[Side, Mask] = {
        "front": (y_mm < 0) & (abs(x_mm) < SPINE_REACH_MM),
        "left": (x_mm >= SPINE_REACH_MM) & (abs(y_mm) < SPINE_REACH_MM),
        "right": (x_mm <= -SPINE_REACH_MM) & (abs(y_mm) < SPINE_REACH_MM),
    }
    back = float(column[(y_mm > 0) & (abs(x_mm) < SPINE_REACH_MM)].max(initial=0.0))
    peaks = {name: float(column[where].max(initial=0.0)) for name, where in regions.items()}
    side = max(peaks, key=lambda name: peaks[name])
    return None if peaks[side] < max(LEAST_SPINE, SPINE_EXCESS * back) else side


def _height(chest: Chest) -> slice:
    """The lungs' slices; all where there are none."""
    return Box.around(chest.lungs).slices[0] if chest.lungs.any() else slice(None)


def _column(bone: Mask, chest: Chest, axis: int) -> Array:
    """How much bone stands along an axis at each place of the other two, smoothed, 0 to 1."""
    steps = [step for at, step in enumerate(chest.coarse.grid.spacing_mm) if at != axis]
    share = bone.mean(axis=axis)
    smooth: Array = ndimage.gaussian_filter(share, [SPINE_SMOOTHING_MM / step for step in steps])
    return smooth


def _mirrored(chest: Chest, outline: Mask) -> Claim | None:
    """Whether, seen from the spine, the gap between whole lungs reaches further to the right."""
    if not chest.lungs.any() or ends(chest.lungs, 0)[1] > 0:
        return None
    _, dy, dx = chest.coarse.grid.spacing_mm
    tall, _, wide = Box.around(chest.lungs).slices
    column = _column(((chest.coarse.array > BONE_HU) & outline)[tall], chest, 0)
    y, x = (int(at) for at in np.unravel_index(column.argmax(), column.shape))
    off_middle = abs(x - (wide.start + wide.stop - 1) / 2) * dx
    if column[y, x] < LEAST_SPINE or off_middle > SPINE_OFF_MIDDLE_MM:
        return None
    if _smaller_part(chest.lungs, x) < LEAST_LUNG:
        return None
    first, last = (tall.start + round(level * (tall.stop - tall.start)) for level in HEART_LEVELS)
    near, far = (max(0, y - round(depth / dy)) for depth in HEART_DEPTH_MM)
    rows = chest.lungs[first:last, far:near].reshape(-1, chest.lungs.shape[2])
    left, right = rows[:, x:], rows[:, x::-1]
    both = left.any(axis=1) & right.any(axis=1)
    if not both.any():
        return None
    excess = (right[both].argmax(axis=1) - left[both].argmax(axis=1)) * dx
    if excess.mean() < HEART_EXCESS_MM or (excess > 0).mean() < HEART_ROWS:
        return None
    return Claim(
        f"the heart reaches {excess.mean():.0f} mm further to the side that the header calls the "
        "right: left and right are mirrored, or the patient's organs are (one sign)",
        False,
    )


def _smaller_part(lungs: Mask, middle: int) -> float:
    sides: Sequence[int] = (int(lungs[:, :, :middle].sum()), int(lungs[:, :, middle:].sum()))
    return min(sides) / sum(sides)
