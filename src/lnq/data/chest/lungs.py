"""Finding body and lungs in a CT by intensity, and the crop box around the lungs.

The same rule serves training and inference: it sees the scan alone, never a label. All sizes are
millimetres, and the search runs on block means of about 3.5 mm, so that a thick-slice and a
thin-slice scan of one patient give the same box, quickly.

How lungs are told from the other air in a scan: air around the patient is reached from the scan's
sides through a neighbourhood as dark as free air, which a lung's vessels lighten even where it is
as dark; gas in trachea, stomach and bowel is as dark, or reaches
through less of the body's depth than a lung does; foam of the table and blankets has body on one
side only; airways are narrow. What remains is lung. A field of view may cut chest wall and lungs
off: sides on which its border comes first are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lnq.box import Box
from lnq.volume import Array, Grid, Volume, from_sitk, reorient, to_sitk

Mask = NDArray[np.bool_]

SEARCH_SPACING_MM = 3.5  # coarse enough to be quick, fine enough for diaphragm and chest wall
TISSUE_HU = -400.0  # halfway between inflated lung (about -850) and soft tissue (about 50)
FREE_AIR_HU = -955.0  # darker than the mean of a lung, lighter than free air on a noisy scanner
# Of emphysema half may be darker than free air, of free air next to nothing is lighter.
LIGHTER_PART = 75
EVEN_HU, EVEN_MM = -970.0, 7.0  # of the neighbourhood that tells free air from such lungs
PLATE_MM = 6.0  # tables, cushions' covers and skin folds are thinner than twice this; a body is not
RIM_MM = 6.0  # partial-volume rim between free air and tissue
AIRWAY_RADIUS_MM = 10.0  # a trachea is at most about 25 mm wide, wall's partial volume included
MIN_LUNG_ML = 20.0  # remains of a collapsed lung still count
MIN_LUNGS_ML = 150.0  # less than that in all is no pair of lungs
PADDING_HU = -1100.0  # darker than any air: what a scanner writes outside of its field of view
AIR_AT_LEAST_HU = -1010.0  # or at least not lighter than this, and the same in all of it
MIN_ENCLOSED = 0.7  # part of the sides (left, right, front, back) on which body lies, not free air
FREE_SIDES = 2.0  # free air has body on fewer sides (mean), a lung that the scan cuts on more
MIN_SIDES = 1.5  # mean number of sides with body: foam that the field of view cuts has one
# A lung's part of the body's depth where it is largest: 0.60 to 0.98 on five real scans and cuts of
# them, 0.65 to 0.70 on phantoms; of bowel gas, pasted below these, up to 0.41.
LUNG_DEPTH = 0.45
# How far lungs go on beyond the slices in which one is as deep as that, and as a part of those.
RECESS_MM, RECESS = 80.0, 0.4
MIN_BODY_ML = 500.0
MIN_HALF_WIDTH = 0.6  # narrower half of the box about the body's middle, as a part of the wider
NO_LUNGS = "no lungs found"
_CHECK = ". Check that the scan shows a chest, in HU"


@dataclass(frozen=True)
class LungBox:
    """Where to crop a scan.

    Attributes:
        box: In the scan's voxels.
        lungs_found: False where the box is the body's or the whole scan.
        notes: What a reader of the result must know, empty in the usual case.
    """

    box: Box
    lungs_found: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Chest:
    """What is seen of a scan on voxels of about 3.5 mm, axes in LPS order.

    Attributes:
        coarse: Block means, HU.
        body: The patient, without the air inside; all False where none is found.
        lungs: Lung air, bronchi and vessels partly left out; all False where none is found.
        bowel_gas_ml: Other gas in the body that is as light as lung.
    """

    coarse: Volume
    body: Mask
    lungs: Mask
    bowel_gas_ml: float = 0.0


def find_chest(volume: Volume) -> Chest:
    """Looks for body and lungs in a CT.

    Args:
        volume: HU, any orientation and spacing.
    """
    # Turned after shrinking: a whole scan would cost time and its memory again.
    coarse = reorient(shrink(_of_whole_blocks(volume)))
    body = find_body(coarse).array
    lungs, gas = _lungs(coarse, body)
    return Chest(coarse, body, lungs, float(gas.sum() * coarse.grid.voxel_volume_mm3 / 1000))


def lung_box(grid: Grid, chest: Chest, margin_mm: tuple[float, float, float]) -> LungBox:
    """The box around both lungs and the mediastinum between them.

    Where one side of the chest holds no or little lung (collapse, resection, field of view), the
    box is widened there to mirror the other side. Without lungs it is the body's box, without a
    body the whole scan; both are noted.

    Args:
        grid: The scan's, axes in LPS order (`lnq.volume.reorient`).
        chest: What is seen of it.
        margin_mm: Added on both sides of the lungs (z, y, x), mm, as far as the scan reaches.
    """
    coarse, body, lungs = chest.coarse.grid, chest.body, chest.lungs
    notes: tuple[str, ...] = ()
    if lungs.any():
        start, stop = _bounds(lungs)
        start, stop, widened = _balance(start, stop, lungs, body)
        if widened:
            notes = ("little lung on one side: crop widened to mirror the other",)
        box = _in_voxels_of(grid, coarse, start, stop, margin_mm)
        return LungBox(box, True, notes)
    if body.any():
        box = _in_voxels_of(grid, coarse, *_bounds(body), margin_mm)
        return LungBox(box, False, (f"{NO_LUNGS}: cropped to the body{_CHECK}",))
    whole = Box((0, 0, 0), grid.size)
    return LungBox(whole, False, (f"neither lungs nor body found: nothing cropped{_CHECK}",))


def shrink(volume: Volume) -> Volume:
    """Block means of `volume` with voxels of about `SEARCH_SPACING_MM`, float32."""
    shrinking = sitk.BinShrinkImageFilter()
    shrinking.SetShrinkFactors(_factors(volume.grid)[::-1])
    blocks = from_sitk(shrinking.Execute(to_sitk(volume)))
    return Volume(blocks.array.astype(np.float32), blocks.grid)


def _factors(grid: Grid) -> list[int]:
    """Voxels in a block along each axis."""
    return [
        int(np.clip(round(SEARCH_SPACING_MM / spacing), 1, size))
        for spacing, size in zip(grid.spacing_mm, grid.size, strict=True)
    ]


def _of_whole_blocks(volume: Volume) -> Volume:
    """The volume without the voxels that fill no block, so that blocks are those of LPS order.

    Shrinking leaves out what remains at the end of an axis as it is stored: this cuts it off at the
    beginning of those that are stored backwards.
    """
    sides = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.grid.direction)
    start = [
        size % factor if side in "RAI" else 0
        for size, factor, side in zip(
            volume.grid.size, _factors(volume.grid), sides[::-1], strict=True
        )
    ]
    grid = volume.grid.crop(start, volume.grid.size)
    return Volume(volume.array[tuple(slice(first, None) for first in start)], grid)


def find_body(volume: Volume) -> Volume:
    """The patient without table, clothing and the air inside: the largest piece of tissue, bool."""
    spacing = volume.grid.spacing_mm
    tissue = _open(volume.array > TISSUE_HU, PLATE_MM, spacing)
    labels, count = ndimage.label(tissue)
    if count == 0:
        return Volume(tissue, volume.grid)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    if sizes.max() * volume.grid.voxel_volume_mm3 < MIN_BODY_ML * 1000:
        return Volume(np.zeros_like(tissue), volume.grid)
    return Volume(labels == sizes.argmax(), volume.grid)


def _lungs(volume: Volume, body: Mask) -> tuple[Mask, Mask]:
    """The lungs, and the gas of stomach and bowel that is as light."""
    spacing, voxel_ml = volume.grid.spacing_mm, volume.grid.voxel_volume_mm3 / 1000
    air = volume.array <= TISSUE_HU
    dark = volume.array < FREE_AIR_HU
    padding = _padding(volume.array)
    free = _free_air(volume, body, padding)
    # With the partial-volume rim against the skin.
    inner = air & ~padding & ~within(free, RIM_MM, spacing)
    opened = _open(inner, AIRWAY_RADIUS_MM, spacing)
    light, core, height = _light_pieces(volume, opened, body, free)
    if core.sum() * voxel_ml < MIN_LUNGS_ML:
        return np.zeros_like(core), light & ~core  # remains of lung are no gas
    # Opening rounded off apices and recesses. They grow back, but not along the dark airways.
    airways = within(dark & ~core, RIM_MM, spacing) & ~core
    grown = ndimage.binary_propagation(core, mask=inner & height & ~airways | core)
    return grown.astype(bool), light & ~grown


def _light_pieces(volume: Volume, air: Mask, body: Mask, free: Mask) -> tuple[Mask, Mask, Mask]:
    """The pieces of air inside the body that are as light as lung, and those that are lung.

    At some height a lung fills the body's depth as no gas of a bowel does. What is joined to it far
    above or below is no lung, nor is a piece of its own there.

    Returns:
        The former, the latter, and the slices `(z, 1, 1)` that lungs can reach.
    """
    voxel_ml = volume.grid.voxel_volume_mm3 / 1000
    labels, count = ndimage.label(air)
    enclosed, known = _sides(body), _sides(body | free)
    light, lung = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    deep = np.zeros(len(air), bool)
    places = ndimage.find_objects(labels)
    for number, where in enumerate(places, start=1):
        piece = labels[where] == number
        sides, hu = enclosed[where][piece], volume.array[where][piece]
        depth = _depth(body[where[0]] | (labels[where[0]] == number))
        slices = _depth(piece) >= LUNG_DEPTH * depth
        light[number] = (
            piece.sum() * voxel_ml >= MIN_LUNG_ML
            and np.percentile(hu, LIGHTER_PART if slices.any() else 50) >= FREE_AIR_HU
            and (sides.mean() >= MIN_SIDES or not free.any())
            and sides.sum() >= MIN_ENCLOSED * known[where][piece].sum()
        )
        lung[number] = light[number] and slices.any()
        if lung[number]:
            deep[where[0]] |= slices
    recess = max(1, int(max(RECESS_MM / volume.grid.spacing_mm[0], RECESS * deep.sum())))
    height = np.asarray(ndimage.binary_dilation(deep, iterations=recess)).reshape(-1, 1, 1)
    near = np.asarray(ndimage.binary_dilation(deep, iterations=max(1, recess // 2)))
    for number, where in enumerate(places, start=1):
        share = (labels[where] == number).sum(axis=(1, 2))
        lung[number] |= light[number] and 2 * share[near[where[0]]].sum() > share.sum()
    return light[labels], lung[labels] & height, height


def _depth(mask: Mask) -> NDArray[np.int64]:
    """From the first to the last row of each slice that holds some of the mask, in rows."""
    rows = np.asarray(mask.any(axis=2))
    last = rows.shape[1] - rows[:, ::-1].argmax(axis=1)
    return np.where(rows.any(axis=1), last - rows.argmax(axis=1), 0)


def _free_air(volume: Volume, body: Mask, padding: Mask) -> Mask:
    """The air around the patient, without padding."""
    spacing = volume.grid.spacing_mm
    known = (~padding).astype(np.float32)
    width = [EVEN_MM / step for step in spacing]
    sums, weights = (
        ndimage.gaussian_filter(one, width, mode="nearest") for one in (volume.array * known, known)
    )
    even = sums < EVEN_HU * np.maximum(weights, 1e-6)
    dark = (volume.array < FREE_AIR_HU) & ~padding
    labels, count = ndimage.label(_from_the_sides(dark & even | padding) & ~padding)
    if count == 0:
        return labels > 0
    sides = ndimage.mean(_sides(body), labels, np.arange(1, count + 1))
    free = np.append(False, np.asarray(sides) < FREE_SIDES)[labels]
    # Up to the skin, near which no neighbourhood is dark.
    return within(free, 2 * EVEN_MM, spacing) & dark | free


def _padding(hu: Array) -> Mask:
    """What lies outside of the field of view, with the voxels that may hold some of it."""
    lowest = hu.min()
    even = (hu == lowest) & (lowest < AIR_AT_LEAST_HU)
    outside = _from_the_sides((hu < PADDING_HU) | even)
    return ndimage.binary_dilation(outside, np.ones((1, 3, 3), bool)).astype(bool)


def _from_the_sides(mask: Mask) -> Mask:
    """The pieces of a mask that reach a side of the scan: left, right, front or back."""
    sides = np.zeros_like(mask)
    # Not the first and last slice: air there may be lung or windpipe that runs out of the scan.
    sides[:, [0, -1], :] = mask[:, [0, -1], :]
    sides[:, :, [0, -1]] = mask[:, :, [0, -1]]
    return ndimage.binary_propagation(sides, mask=mask).astype(bool)


def _sides(mask: Mask) -> NDArray[np.uint8]:
    """For each voxel, on how many of its sides (left, right, front, back) the mask lies: 0 to 4."""
    hits = np.zeros(mask.shape, np.uint8)
    for axis in (1, 2):
        hits += np.logical_or.accumulate(mask, axis=axis)
        hits += np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    return hits


def _balance(
    start: NDArray[np.int64], stop: NDArray[np.int64], lungs: Mask, body: Mask
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Widens a box of which one side, seen from the body's middle, is much narrower."""
    filled = (body | (_sides(body) >= 3))[start[0] : stop[0]]
    mass = np.cumsum(filled.sum(axis=(0, 1)))
    if mass[-1] == 0:
        return start, stop, False
    # The median, not the middle of the extent: an arm on one side would move that by its width.
    middle = float(np.interp(mass[-1] / 2, mass, np.arange(1, len(mass) + 1)))
    right, left = middle - start[2], stop[2] - middle
    wide = max(right, left)
    if min(right, left) >= MIN_HALF_WIDTH * wide:
        return start, stop, False
    start, stop = start.copy(), stop.copy()
    start[2] = max(0, int(np.floor(middle - wide)))
    stop[2] = min(lungs.shape[2], int(np.ceil(middle + wide)))
    return start, stop, True


def _bounds(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    box = Box.around(mask)
    return np.array(box.start), np.array(box.stop)


def _in_voxels_of(
    fine: Grid,
    coarse: Grid,
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    margin_mm: tuple[float, float, float],
) -> Box:
    margin = np.asarray(margin_mm) / coarse.spacing_mm
    # Voxel edges, not centres: half a voxel before the first and after the last. The nearest ones;
    # half-way, the outer ones, whatever rounding a file's header has seen.
    first = fine.to_index(coarse.to_world(start - 0.5 - margin))
    last = fine.to_index(coarse.to_world(stop - 0.5 + margin))
    begin, end = np.ceil(first - 1e-3).astype(int), np.floor(last + 1.0 + 1e-3).astype(int)
    return Box.within(fine.size, begin, end)


def within(mask: Mask, radius_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Voxels at most `radius_mm` away from `mask`."""
    return ndimage.binary_dilation(mask, _ball(radius_mm, spacing_mm, mask.shape))


def _open(mask: Mask, radius_mm: float, spacing_mm: tuple[float, ...]) -> Mask:
    """Opening with a ball; the scan's border does not erode, for the patient goes on beyond it."""
    ball = _ball(radius_mm, spacing_mm, mask.shape)
    eroded = ndimage.binary_erosion(mask, ball, border_value=1)
    return ndimage.binary_dilation(eroded, ball) & mask


def _ball(radius_mm: float, spacing_mm: tuple[float, ...], size: tuple[int, ...]) -> Mask:
    """The voxels at most `radius_mm` away from one, as far as a volume of that size reaches.

    On voxels of 3.5 mm they are few: three to ten times as quick as a distance map.
    """
    reach = [min(int(radius_mm / s) + 1, n) for s, n in zip(spacing_mm, size, strict=True)]
    offsets = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    squares = (np.square(o * s) for o, s in zip(offsets, spacing_mm, strict=True))
    ball: Mask = np.sqrt(sum(squares)) <= radius_mm
    return ball
