"""Bringing what the network says back onto the scan's own grid."""

from __future__ import annotations

import numpy as np

from lnq.box import Box
from lnq.volume import Grid, Volume, resample


def to_scan_grid(probability: Volume, scan_grid: Grid) -> Volume:
    """Probabilities at the scan's voxels: linear in world space, 0 outside the working grid.

    Args:
        probability: float32 on the working grid, any orientation.
        scan_grid: The scan's grid.
    """
    box = Box.covering(probability.grid, scan_grid)
    part = resample(probability, scan_grid.crop(box.start, box.stop), "linear", outside=0.0)
    # Zeros that are never written take no memory: a scan of 656 slices would need 0.7 GB.
    whole = np.zeros(scan_grid.size, np.float32)
    whole[box.slices] = part.array
    return Volume(whole, scan_grid)
