"""Dilation by a ball of the lung search's radii: by the ball's voxels and by a distance map.

python benchmarks/lung_search.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from lnq.data.chest.lungs import AIRWAY_RADIUS_MM, RIM_MM
from lnq.data.chest.morphology import within
from lnq.volume import Mask

SPACING_MM = (5.0, 3.0, 3.0)
SIZE = (40, 128, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    noise = np.random.default_rng(0).standard_normal(SIZE)
    mask: Mask = ndimage.gaussian_filter(noise, 4) > 0.02
    for radius_mm in (RIM_MM, AIRWAY_RADIUS_MM):
        ways: dict[str, Callable[[float], Mask]] = {
            "distance map": lambda r: (
                ndimage.distance_transform_edt(~mask, sampling=SPACING_MM) <= r
            ),
            "ball": lambda r: within(mask, r, SPACING_MM),
        }
        first, second = (way(radius_mm) for way in ways.values())
        assert np.array_equal(first, second)
        taken = {name: min(_seconds(way, radius_mm) for _ in range(rounds))
                 for name, way in ways.items()}  # fmt: skip
        ratio = taken["ball"] / taken["distance map"]
        print(f"{radius_mm} mm: {taken['ball']:.4f} s by the ball, {ratio:.2f} of a distance map's")


def _seconds(way: Callable[[float], Mask], radius_mm: float) -> float:
    start = time.process_time()
    way(radius_mm)
    return time.process_time() - start


if __name__ == "__main__":
    main()
