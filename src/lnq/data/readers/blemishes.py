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
        places, steps = _steps(
            plane, array[max(z - 1, 1 - z)], array[min(z + 1, 2 * depth - z - 3)]
        )
        inner = plane[1:-1].reshape(-1)
        void = (inner[places] < _VOID_HU) & (steps > _VOID_JUMP_HU)
        spikes[z] = np.count_nonzero(void | (steps > _JUMP_HU))
        runs[z] = _count_runs(inner, places, extremes, plane.shape[1])
    return [
        *_note(spikes, "voxels jump against all their neighbours as no tissue does"),
        *_note(runs, "stretches of rows have one value that none beside them has"),
    ]


def _steps(plane: Array, before: Array, behind: Array) -> tuple[Array, Array]:
    """Voxels of the inner rows that differ from the rows and slices beside them.

    Returns:
        Their flat indices, in order, and the smallest of their four steps, HU.
    """
    inner = plane[1:-1].astype(np.float32 if plane.dtype.kind == "f" else np.int32).reshape(-1)
    steps = np.abs(inner - plane[:-2].reshape(-1))
    places = np.flatnonzero(steps > _RUN_STEP_HU)
    steps = steps[places]
    for other in (plane[2:], before[1:-1], behind[1:-1]):
        steps = np.minimum(steps, np.abs(inner[places] - other.reshape(-1)[places]))
        places, steps = places[steps > _RUN_STEP_HU], steps[steps > _RUN_STEP_HU]
    return places, steps


def _count_runs(inner: Array, places: Array, extremes: tuple[float, float], width: int) -> int:
    """Pieces of rows of one value; where values are cut off, such are usual.

    Args:
        inner: Values of the rows, one after another.
        places: Indices that count, in order.
        extremes: Where values are cut off.
        width: Of a row.
    """
    values = inner[places]
    alike = (values[1:] == values[:-1]) & (np.diff(places) == 1) & (places[1:] % width != 0)
    alike &= (values[1:] != extremes[0]) & (values[1:] != extremes[1])
    edges = np.flatnonzero(np.diff(alike, prepend=False, append=False))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= _RUN))


def _note(counts: Array, what: str) -> list[str]:
    if not counts.any():
        return []
    return [f"{counts.sum()} {what}, most in slice {int(counts.argmax())}: damaged, or metal. "
            "Look at it, or copy the scan again"]  # fmt: skip
