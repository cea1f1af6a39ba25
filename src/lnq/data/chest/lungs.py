"""Finding body and lungs in a CT by intensity.

The same rule serves training and inference: it sees the scan alone, never a label. All sizes are
millimetres, and the search runs on block means of about 3.5 mm, so that a thick-slice and a
thin-slice scan of one patient give the same box, quickly.

How lungs are told from the other air in a scan: air around the patient is reached from the scan's
sides through a neighbourhood as dark as free air, which a lung's vessels lighten even where it is
as dark; gas in trachea, stomach and bowel is as dark, or reaches through less of the body's depth
than a lung does; foam of the table and blankets has body on one side only; airways are narrow.
What remains is lung. A field of view may cut chest wall and lungs off: sides on which its border
comes first are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lnq.data.chest.coarse import shrink, whole_blocks
from lnq.data.chest.morphology import (
    depth_in_rows,
    from_the_sides,
    opening,
    sides_covered,
    within,
)
from lnq.volume import Array, Mask, Volume, reorient

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
NO_LUNGS = "no lungs found"


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
    coarse = reorient(shrink(whole_blocks(volume)))
    body = find_body(coarse).array
    lungs, gas = _lungs(coarse, body)
    return Chest(coarse, body, lungs, float(gas.sum() * coarse.grid.voxel_volume_mm3 / 1000))


def find_body(volume: Volume) -> Volume:
    """The patient without table, clothing and the air inside: the largest piece of tissue, bool."""
    spacing = volume.grid.spacing_mm
    tissue = opening(volume.array > TISSUE_HU, PLATE_MM, spacing)
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
    wide = opening(inner, AIRWAY_RADIUS_MM, spacing)
    light, core, height = _light_pieces(volume, wide, body, free)
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
    enclosed, known = sides_covered(body), sides_covered(body | free)
    light, lung = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    deep = np.zeros(len(air), bool)
    places = ndimage.find_objects(labels)
    for number, where in enumerate(places, start=1):
        piece = labels[where] == number
        sides, hu = enclosed[where][piece], volume.array[where][piece]
        depth = depth_in_rows(body[where[0]] | (labels[where[0]] == number))
        slices = depth_in_rows(piece) >= LUNG_DEPTH * depth
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
    labels, count = ndimage.label(from_the_sides(dark & even | padding) & ~padding)
    if count == 0:
        return labels > 0
    sides = ndimage.mean(sides_covered(body), labels, np.arange(1, count + 1))
    free = np.append(False, np.asarray(sides) < FREE_SIDES)[labels]
    # Up to the skin, near which no neighbourhood is dark.
    return within(free, 2 * EVEN_MM, spacing) & dark | free


def _padding(hu: Array) -> Mask:
    """What lies outside of the field of view, with the voxels that may hold some of it."""
    lowest = hu.min()
    even = (hu == lowest) & (lowest < AIR_AT_LEAST_HU)
    outside = from_the_sides((hu < PADDING_HU) | even)
    return ndimage.binary_dilation(outside, np.ones((1, 3, 3), bool)).astype(bool)
