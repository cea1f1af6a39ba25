"""Overlap and surface distance of two masks: pure functions of arrays.

Nothing is hidden by a convenient number: a measure that does not exist for a pair of masks is NaN.
What is done about it (the fill of missing surface distances) is decided over all cases, in
`tables.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from lnq.box import Box
from lnq.volume import Array

Mask = NDArray[np.bool_]


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice similarity coefficient (DSC), 2 |P ∩ R| / (|P| + |R|).

    Args:
        prediction: Boolean mask `z y x`.
        reference: Boolean mask `z y x`.

    Returns:
        A value in [0, 1]; 0 where exactly one of the masks is empty; NaN where both are.

    Examples:
        >>> prediction = np.array([[[True, True, True, False]]])
        >>> reference = np.array([[[False, False, True, True]]])
        >>> dice(prediction, reference)  # 2 * 1 / (3 + 2)
        0.4
        >>> dice(prediction & False, reference & False)
        nan
    """
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return _ratio(2 * np.count_nonzero(prediction & reference), total)


def precision(prediction: Mask, reference: Mask) -> float:
    """Share of the predicted voxels that are right, |P ∩ R| / |P|; NaN without prediction.

    Examples:
        >>> prediction = np.array([[[True, True, True, False]]])
        >>> reference = np.array([[[False, False, True, True]]])
        >>> round(precision(prediction, reference), 4)  # 1 of 3
        0.3333
    """
    return _ratio(np.count_nonzero(prediction & reference), np.count_nonzero(prediction))


def recall(prediction: Mask, reference: Mask) -> float:
    """Share of the reference's voxels that are predicted, |P ∩ R| / |R|; NaN without reference.

    Examples:
        >>> prediction = np.array([[[True, True, True, False]]])
        >>> reference = np.array([[[False, False, True, True]]])
        >>> recall(prediction, reference)  # 1 of 2
        0.5
    """
    return _ratio(np.count_nonzero(prediction & reference), np.count_nonzero(reference))


def assd(prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Average symmetric surface distance (ASSD).

    The surface of a mask is the set of its voxels that have a 6-neighbour outside it; what lies
    beyond the array's edge counts as outside. Each surface voxel's centre gets the Euclidean
    distance to the nearest surface voxel of the other mask; the ASSD is the mean over all voxels of
    both surfaces together, so that a larger surface weighs more. (The mean of the two directed
    means, which some programs call by the same name, differs where the surfaces differ in size.)

    Args:
        prediction: Boolean mask `z y x`.
        reference: Boolean mask `z y x`.
        spacing_mm: Distance of voxel centres `(z, y, x)`, mm.

    Returns:
        Millimetres, >= 0; NaN where one of the masks is empty.

    Examples:
        >>> prediction = np.array([[[True, False, False, True]]])
        >>> reference = np.array([[[True, False, False, False]]])
        >>> assd(prediction, reference, (3.0, 1.0, 1.0))  # 0 and 3 mm to the reference, 0 back
        1.0
    """
    ours = surface_points(prediction, spacing_mm)
    theirs = surface_points(reference, spacing_mm)
    if not len(ours) or not len(theirs):
        return math.nan
    to_theirs = KDTree(theirs).query(ours)[0]
    to_ours = KDTree(ours).query(theirs)[0]
    return float(np.concatenate([to_theirs, to_ours]).mean())


def surface_points(mask: Mask, spacing_mm: tuple[float, float, float]) -> Array:
    """Centres of a mask's surface voxels.

    Args:
        mask: Boolean mask `z y x`.
        spacing_mm: Distance of voxel centres `(z, y, x)`, mm.

    Returns:
        Positions (n, 3) `z y x`, mm from the centre of voxel (0, 0, 0); n = 0 for an empty mask.

    Examples:
        >>> surface_points(np.ones((3, 3, 3), dtype=bool), (3.0, 1.0, 1.0)).shape  # but its middle
        (26, 3)
        >>> surface_points(np.array([[[False, True]]]), (3.0, 1.0, 0.5))
        array([[0. , 0. , 0.5]])
    """
    # Cropping is what makes this fast: nodes fill a thousandth of a scan.
    box = Box.around(mask)
    crop = mask[box.slices]
    inside = ndimage.binary_erosion(crop, ndimage.generate_binary_structure(3, 1))
    points: Array = (np.argwhere(crop & ~inside) + box.start) * np.asarray(spacing_mm)
    return points


def _ratio(numerator: int | np.integer, denominator: int | np.integer) -> float:
    return float(numerator / denominator) if denominator else math.nan
