"""Voxels as damage leaves them where no checksum tells: spikes, and rows of one value."""

from __future__ import annotations

import numpy as np

from lnq.volume import Array

# Between a voxel and all four beside it across its row: edges of metal reached 2,150 HU.
_JUMP_HU = 3000
# No scanner measures less, and padding is no single row.
_VOID_HU = -1100
_VOID_JUMP_HU = 600
# Equal neighbours along a row: noise makes none of that length.
_RUN = 10
_RUN_STEP_HU = 150


def blemishes(array: Array) -> list[str]:
    """Notes of places that no scanner makes.

    Bytes lie in the order of rows, so damage runs along one: the rows above and below it, and the
    same row of the slices before and behind, are sound and differ from it.

    Args:
        array: HU `z y x`.
    """
    depth = len(array)
    if min(array.shape) < 3:
        return []
    extremes = array.min(), array.max()
    spikes, runs = np.zeros((2, depth), int)
    for z, plane in enumerate(array):
        before, behind = max(z - 1, 1 - z), min(z + 1, 2 * depth - z - 3)
        steps = _smallest_step(plane, array[before], array[behind])
        void = (plane[1:-1] < _VOID_HU) & (steps > _VOID_JUMP_HU)
        spikes[z] = np.count_nonzero(void | (steps > _JUMP_HU))
        alike = _like_the_one_before(plane[1:-1], extremes) & (steps > _RUN_STEP_HU)
        runs[z] = np.count_nonzero(_starts_of_runs(alike))
    return [
        *_note(spikes, "voxels jump against all their neighbours as no tissue does"),
        *_note(runs, "pieces of rows have one value that none beside them has"),
    ]


def _smallest_step(plane: Array, before: Array, behind: Array) -> Array:
    """Of each voxel of the inner rows, to the rows and slices beside it, HU."""
    inner = plane[1:-1].astype(np.float32 if plane.dtype.kind == "f" else np.int32)
    smallest = np.abs(inner - plane[:-2])
    for other in (plane[2:], before[1:-1], behind[1:-1]):
        np.minimum(smallest, np.abs(inner - other), out=smallest)
    return smallest


def _like_the_one_before(rows: Array, extremes: tuple[float, float]) -> Array:
    """Voxels equal to their neighbour in the row, but not where values are cut off."""
    equal = np.zeros(rows.shape, bool)
    equal[:, 1:] = (rows[:, 1:] == rows[:, :-1]) & ~np.isin(rows[:, 1:], extremes)
    return equal


def _starts_of_runs(mask: Array) -> Array:
    """Where in a mask `y x` runs of `_RUN` voxels begin; one run may have several beginnings."""
    runs = mask
    for _ in range(_RUN - 1):
        runs = runs[:, :-1] & mask[:, mask.shape[1] - runs.shape[1] + 1 :]
    return runs


def _note(counts: Array, what: str) -> list[str]:
    if not counts.any():
        return []
    return [f"{counts.sum()} {what}, most in slice {int(counts.argmax())}: damaged, or metal. "
            "Look at it, or copy the scan again"]  # fmt: skip
