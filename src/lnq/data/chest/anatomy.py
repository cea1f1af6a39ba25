"""Whether a scan can be a human chest in Hounsfield units, the way its header says it lies.

Claims are made only where anatomy leaves no doubt. What is unusual, but may be so, is a note.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lnq.box import Box
from lnq.data.chest.coarse import shrink
from lnq.data.chest.lungs import NO_LUNGS, Chest, find_body, find_chest
from lnq.data.chest.orientation import axes_swapped, claims
from lnq.data.chest.outline import ends, whole_in_plane
from lnq.volume import Array, Grid, Mask, Volume, reorient

# Values. Every CT of a chest holds air (below it lies padding); soft tissue lies between fat and
# muscle in contrast; only cortical bone, metal and wrongly scaled tissue are denser than DENSE_HU.
AIR_HU, SOFT_TISSUE_HU = (-1200.0, -500.0), (-300.0, 300.0)
DENSE_HU = 700.0
LEAST_AIR, LEAST_SOFT_TISSUE = 0.003, 0.01
# What no human body exceeds: cross-section (newborn to the bore of a scanner), depth to width,
# height of the lungs, their height to their width, volume.
AREA_RANGE_CM2 = (60.0, 3000.0)
USUAL_AREA_CM2 = (250.0, 1800.0)
WIDEST_MM = 900.0
DEPTH_TO_WIDTH = (0.25, 2.5)
HIGHEST_LUNGS_MM = 450.0
LUNG_HEIGHT_TO_WIDTH = (0.3, 2.2)
LARGEST_BODY_L = 250.0
USUAL_VIEW_MM = 400.0  # width of a usual field of view
CHEST_SHARE = 0.4  # a scan of which lungs take less of the height shows mostly something else
LEAST_GAS_L = 0.05
CUT_SHARE = 0.01  # of a scan's side
_SAMPLE = 1 << 20


@dataclass(frozen=True)
class Anatomy:
    """A scan's body and lungs in numbers.

    Attributes:
        body_litres: Volume of the patient in the scan, lungs included; 0 = no body found.
        lungs_litres: Volume of the air in the lungs; 0 = no lungs found.
        faults: Why it cannot be a chest in Hounsfield units as its header says: pairs of cause and
            remedy.
        notes: What is unusual, but may be so, and what to do about it.
        chest: Where body and lungs were found, for the crop; None = not looked for.
        cut: Sides of the scan at which the lungs are cut off, in words.
    """

    body_litres: float
    lungs_litres: float
    faults: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    chest: Chest | None = None
    cut: tuple[str, ...] = ()


def examine_anatomy(volume: Volume) -> Anatomy:
    """Measures body and lungs, and compares values, size and position with human ones.

    Args:
        volume: A scan in HU, any orientation and spacing.
    """
    if fault := _value_fault(volume.array):
        return Anatomy(0.0, 0.0, (fault,), ())
    chest = find_chest(volume)
    coarse, body, lungs = chest.coarse, chest.body, chest.lungs
    if not body.any() and (fault := _tiny(volume)):
        return Anatomy(0.0, 0.0, (fault,), (), chest)
    outline = _filled(body | lungs)
    litre = coarse.grid.voxel_volume_mm3 / 1e6
    litres = float((body | lungs).sum() * litre), float(lungs.sum() * litre)
    spacing = coarse.grid.spacing_mm
    faults, notes = [], _view_notes(chest)
    swapped = axes_swapped(chest, outline)
    if swapped and swapped.fault:
        return Anatomy(*litres, (swapped.fault,), (), chest)
    if size := _size_fault(outline, lungs, litres[0], spacing):
        faults.append(_wrong_size(size, volume))
    else:
        said = [*([swapped] if swapped else claims(chest, outline))]
        faults += [claim.fault for claim in said if claim.fault]
        notes += [note for note in (_unusual_size(outline, spacing),) if note]
        notes += [claim.note for claim in said if claim.note]
    return Anatomy(*litres, tuple(faults), tuple(notes), chest, cut_sides(lungs))


def _view_notes(chest: Chest) -> list[str]:
    """What the scan shows instead of a chest."""
    gas = chest.bowel_gas_ml / 1000
    abdomen = f"mostly abdomen, with {gas:.1f} l of gas in the bowel" if gas > LEAST_GAS_L else None
    if not chest.lungs.any():
        shown = f": {abdomen}" if abdomen else ""
        return [f"{NO_LUNGS}{shown}. Check that the scan shows a chest"]
    tall, scan = Box.around(chest.lungs).size[0], len(chest.lungs)
    if tall >= CHEST_SHARE * scan:
        return []
    dz = chest.coarse.grid.spacing_mm[0] / 10
    return [
        f"{abdomen or 'mostly other than chest'}: lungs in {tall * dz:.0f} of {scan * dz:.0f} cm. "
        "What is found outside of them is no mediastinal node"
    ]


def cut_sides(lungs: Mask) -> tuple[str, ...]:
    """The sides of the scan at which lungs are cut off: more of them than their fuzzy rim is there.

    Args:
        lungs: Axes in LPS order.
    """
    return tuple(
        name
        for axis, names in enumerate((("feet", "head"), ("front", "back"), ("right", "left")))
        for at, name in zip((0, -1), names, strict=True)
        if np.take(lungs, at, axis=axis).mean() > CUT_SHARE
    )


def _value_fault(array: Array) -> tuple[str, str] | None:
    """Why values are no Hounsfield units of a chest, with the remedy."""
    low, high = float(array.min()), float(array.max())
    values = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    air, soft = (
        float(((values >= first) & (values <= last)).mean())
        for first, last in (AIR_HU, SOFT_TISSUE_HU)
    )
    dense = float((values > DENSE_HU).mean())
    if air < LEAST_AIR:
        why = f"air (below {AIR_HU[1]:g}) is missing"
    elif dense > soft:
        why = f"{dense:.0%} of the voxels are above {DENSE_HU:g}, {soft:.0%} are soft tissue"
    elif soft < LEAST_SOFT_TISSUE:
        why = f"only {soft:.1%} of the voxels are soft tissue"
    else:
        return None
    return (
        f"values from {low:g} to {high:g} are no Hounsfield units of a chest: {why}",
        "apply rescale slope and intercept once when exporting, without window or normalisation",
    )


def _filled(outline: Mask) -> Mask:
    """Every slice with the holes in it (airways, bowel) filled."""
    return np.stack([ndimage.binary_fill_holes(one) for one in outline])


def _tiny(volume: Volume) -> tuple[str, str] | None:
    """Whether a body that is too small to be found at its stated size is one at a larger scale."""
    grid = volume.grid
    factor = USUAL_VIEW_MM / max(
        n * s for n, s in zip(grid.size[1:], grid.spacing_mm[1:], strict=True)
    )
    larger = Grid(grid.size, _triple(factor * np.asarray(grid.spacing_mm)), (0.0, 0.0, 0.0),
                  grid.direction)  # fmt: skip
    coarse = reorient(shrink(Volume(volume.array, larger)))
    body = _filled(find_body(coarse).array)
    if not body.any() or not whole_in_plane(body):
        return None
    area = _cross_section(body, coarse.grid.spacing_mm)[0] / factor**2
    if area >= AREA_RANGE_CM2[0]:
        return None
    return _wrong_size(f"a body with a cross-section of {area:.3g} cm²", volume)


def _wrong_size(measure: str, volume: Volume) -> tuple[str, str]:
    spacing = " x ".join(f"{v:.3g}" for v in volume.grid.spacing_mm)
    return (
        f"{measure}: no human chest has that, so the voxel size (z, y, x) of {spacing} mm or the "
        "order of the axes is wrong",
        "correct voxel size and axes in the header",
    )


def _triple(values: Array) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third


def _size_fault(
    outline: Mask, lungs: Mask, body_litres: float, spacing: tuple[float, float, float]
) -> str | None:
    """The one measure that no human chest has, in words."""
    if not outline.any():
        return None
    whole = whole_in_plane(outline)
    area, depth, width = _cross_section(outline, spacing)
    if area > AREA_RANGE_CM2[1] or (whole and area < AREA_RANGE_CM2[0]):
        return f"a body of {body_litres:.3g} l with a cross-section of {area:.3g} cm²"
    if max(depth, width) > WIDEST_MM or body_litres > LARGEST_BODY_L:
        return f"a body of {body_litres:.3g} l, {width / 10:.3g} cm wide, {depth / 10:.3g} cm deep"
    if whole and not DEPTH_TO_WIDTH[0] <= depth / width <= DEPTH_TO_WIDTH[1]:
        return f"a body {width / 10:.3g} cm wide and {depth / 10:.3g} cm deep"
    if lungs.any():
        tall, _, wide = (
            length * step for length, step in zip(Box.around(lungs).size, spacing, strict=True)
        )
        low, high = LUNG_HEIGHT_TO_WIDTH
        low = 0.0 if ends(lungs, 0)[1] > 0 else low
        # One lung, or less, is narrow.
        high = high if whole and wide >= width / 2 else np.inf
        if tall > HIGHEST_LUNGS_MM or not low <= tall / wide <= high:
            return f"lungs {tall / 10:.3g} cm high and {wide / 10:.3g} cm wide"
    return None


def _unusual_size(outline: Mask, spacing: tuple[float, float, float]) -> str | None:
    if not outline.any() or not whole_in_plane(outline):
        return None
    area = _cross_section(outline, spacing)[0]
    if USUAL_AREA_CM2[0] <= area <= USUAL_AREA_CM2[1]:
        return None
    return (
        f"the body's cross-section of {area:.3g} cm² is unusual for an adult. Check the voxel size"
    )


def _cross_section(
    outline: Mask, spacing: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Median area of the body's slices, cm², and its depth and width, mm."""
    areas = outline.sum(axis=(1, 2)) * spacing[1] * spacing[2] / 100
    depth, width = (
        length * step
        for length, step in zip(Box.around(outline.max(axis=0)).size, spacing[1:], strict=True)
    )
    return float(np.median(areas[areas > 0])), float(depth), float(width)
