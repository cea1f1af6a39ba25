"""What cannot be a lymph node, by its size and by what lies in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lnq.box import Box
from lnq.errors import CaseError
from lnq.volume import Volume, components

# A sphere of 100 ml is 5.8 cm wide. Nodes are called enlarged from a short axis of 1 cm on, bulky
# lymphoma from 10 cm or a third of the chest's width on: 0.5 l. A mass of 1 l fills a quarter of an
# adult's lungs: hearts (0.6 l) lie below, masks of lungs (2 to 6 l) above.
LARGE_ML, LARGEST_ML = 100.0, 1000.0
AIR_HU, MOST_AIR = -500.0, 0.5  # nodes are soft tissue; a mask of lungs or body is not, or not all


def component_volumes(label: Volume) -> list[float]:
    """Volumes of the 26-connected components, largest first, mm³."""
    numbered, _ = components(label.array[Box.around(label.array).slices])
    counts = np.bincount(numbered.ravel())[1:]
    return sorted((round(float(n) * label.grid.voxel_volume_mm3, 3) for n in counts), reverse=True)


def no_nodes(label: Volume, image: Volume, path: Path) -> CaseError | str | None:
    """What speaks against a label's being one of nodes: an error where it is none, else a note.

    Args:
        label: 0 or 1, on the scan's grid.
        image: The scan, HU.
        path: The label's file, for messages.
    """
    marked = label.array > 0
    if marked.sum() * label.grid.voxel_volume_mm3 / 1000 <= LARGE_ML:
        return None
    air = float((image.array[marked] < AIR_HU).mean())
    largest = component_volumes(label)[0] / 1000
    if air > MOST_AIR:
        why = f"{air:.0%} of what it marks is air (below {AIR_HU:g} HU)"
    elif largest > LARGEST_ML:
        why = (
            f"one connected piece of {largest:,.0f} ml; none of nodes exceeds {LARGEST_ML:,.0f} ml"
        )
    elif largest > LARGE_ML:
        return (
            f"a connected piece of {largest:.0f} ml is large even for a conglomerate of nodes: "
            "perhaps a tumour or an organ. Check what is outlined"
        )
    else:
        return None
    return CaseError(
        "the label marks no lymph nodes", where=path, why=why,
        remedy="give the mask of the nodes; of several segments, choose by data.layout.label_names",
    )  # fmt: skip
