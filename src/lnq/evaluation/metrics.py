"""Overlap and surface distance of two masks: pure functions of arrays.

Nothing is hidden by a convenient number: a measure that does not exist for a pair of masks is NaN.
What is done about it (the fill of missing surface distances) is decided over all cases, in
`case_metrics.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from lnq.box import Box
from lnq.volume import Array, Mask

TOLERANCE_MM = 2.0
"""Of the NSD: about what two readers' outlines of one node differ by."""


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
    distances = surface_distances(prediction, reference, spacing_mm)
    return assd_of(distances)


@dataclass(frozen=True)
class SurfaceDistances:
    """How far the surfaces of two masks lie apart, in both directions.

    Attributes:
        to_reference: Of each surface voxel of the prediction, mm; empty where a mask is.
        to_prediction: Of each surface voxel of the reference, mm; the same.
        num_empty: How many of the two masks have no voxel.
    """

    to_reference: Array
    to_prediction: Array
    num_empty: int


def surface_distances(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """The distances that `assd`, `hd95_of` and `nsd_of` sum up; arguments as for `assd`."""
    ours = surface_points(prediction, spacing_mm)
    theirs = surface_points(reference, spacing_mm)
    if not len(ours) or not len(theirs):
        return SurfaceDistances(np.empty(0), np.empty(0), (not len(ours)) + (not len(theirs)))
    to_reference, to_prediction = KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]
    return SurfaceDistances(np.asarray(to_reference), np.asarray(to_prediction), 0)


def assd_of(distances: SurfaceDistances) -> float:
    """The ASSD, mm; NaN where one of the masks is empty. See `assd`."""
    if distances.num_empty:
        return math.nan
    return float(np.concatenate([distances.to_reference, distances.to_prediction]).mean())


def hd95_of(distances: SurfaceDistances) -> float:
    """95th percentile of the Hausdorff distance: the larger of the two directions' percentiles.

    Returns:
        Millimetres, >= 0; NaN where one of the masks is empty.

    Examples:
        >>> prediction = np.array([[[True, False, False, True]]])
        >>> reference = np.array([[[True, False, False, False]]])
        >>> found = surface_distances(prediction, reference, (3.0, 1.0, 1.0))  # 0 and 3 mm, and 0
        >>> round(hd95_of(found), 6)
        2.85
    """
    if distances.num_empty:
        return math.nan
    directions = (distances.to_reference, distances.to_prediction)
    return max(float(np.percentile(each, 95)) for each in directions)


def nsd_of(distances: SurfaceDistances, tolerance_mm: float = TOLERANCE_MM) -> float:
    """Normalised surface Dice (NSD): the share of both surfaces within a tolerance of the other.

    Counted in surface voxels, both surfaces together (Nikolov et al. 2021 weigh by area).

    Args:
        distances: From `surface_distances`.
        tolerance_mm: Distance that is still right, mm.

    Returns:
        A value in [0, 1]; 0 where exactly one of the masks is empty; NaN where both are.

    Examples:
        >>> prediction = np.array([[[True, False, False, True]]])
        >>> reference = np.array([[[True, False, False, False]]])
        >>> nsd_of(surface_distances(prediction, reference, (3.0, 1.0, 1.0)), 2.0)  # 2 of 3 voxels
        0.6666666666666666
    """
    if distances.num_empty:
        return math.nan if distances.num_empty == 2 else 0.0
    both = np.concatenate([distances.to_reference, distances.to_prediction])
    return float((both <= tolerance_mm).mean())


def node_f1(num_nodes: int, num_detected: int, num_false_positives: int) -> float:
    """F1 of a case's nodes: 2 TP / (2 TP + FP + FN), counted as `nodes.measure_nodes` detects.

    Returns:
        A value in [0, 1]; NaN where there is neither a node nor a false positive.

    Examples:
        >>> node_f1(num_nodes=4, num_detected=2, num_false_positives=2)  # 4 / (4 + 2 + 2)
        0.5
        >>> node_f1(0, 0, 3), node_f1(0, 0, 0)
        (0.0, nan)
    """
    return _ratio(2 * num_detected, num_nodes + num_detected + num_false_positives)


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
