"""One patch to look at: out of a store, or of a phantom that is made on the spot."""

from __future__ import annotations

import numpy as np

from lnq.box import cut
from lnq.data.patches.cutting import PatchRule, Size
from lnq.data.phantom import LargestNodes, make_case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.volume import Array, Grid, Volume

_PHANTOM_ROWS = 256


def example_patch(
    size: Size, store: CaseStore | None = None, case_id: str | None = None, seed: int = 0
) -> Volume:
    """A patch as training sees it, centred on an annotated voxel where there is one.

    Args:
        size: z, y, x in voxels.
        store: Where the case lies; None = a phantom, preprocessed with the defaults.
        case_id: Which case of the store; None = its first.
        seed: Of the place, and of the phantom.

    Returns:
        Normalised intensities, float32; the grid tells the spacing.

    Raises:
        UsageError: The store does not hold the case, or none at all.
    """
    if store is None:
        if case_id is not None:
            raise UsageError(f"no case {case_id!r}: the phantom is made on the spot",
                             remedy="give the store that holds it")  # fmt: skip
        image, foreground, spacing_mm = _phantom(seed)
    else:
        known = store.case_ids()
        if not known or case_id not in (None, *known):
            raise UsageError(
                "the store holds no cases" if not known else f"no case {case_id!r}",
                where=store.root,
                remedy=f"there are {', '.join(known[:5])}" if known else "run lnq.preprocess",
            )
        case_id = case_id or known[0]
        image, foreground = store.image(case_id), store.foreground(case_id)
        spacing_mm = store.record(case_id).grid.spacing_mm
    rule = PatchRule([case_id or "phantom"], size, foreground_share=1.0, seed=seed)
    start = rule.start_of(0, image.shape, foreground)
    patch = cut(image, start, size, float(image.min())).astype(np.float32)
    return Volume(patch, Grid(size, spacing_mm))


def _phantom(seed: int) -> tuple[Array, Array, tuple[float, float, float]]:
    case = make_case(seed, "val", 1, LargestNodes(), _PHANTOM_ROWS)
    preprocessing = Preprocessing()
    prepared = preprocessing.apply(case.image).volume
    label = preprocessing.apply_label(case.instances, prepared.grid)
    return prepared.array, np.argwhere(label.array), prepared.grid.spacing_mm
