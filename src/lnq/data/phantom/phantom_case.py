"""One finished phantom: scan, complete labels, what of them is annotated, masks of organs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lnq.data.case import Split, Supervision
from lnq.data.phantom.annotation import AnnotationPolicy
from lnq.data.phantom.organ_masks import organ_masks
from lnq.data.phantom.render import render
from lnq.data.phantom.scanner import Acquisition, draw_acquisition
from lnq.data.phantom.thorax import Thorax, draw_thorax
from lnq.seeding import generator
from lnq.volume import Grid, Mask, Volume


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One finished phantom.

    Attributes:
        image: CT in HU, int16, `z y x`.
        instances: complete labels, uint8 `z y x`: 0 background, 1..K the nodes.
        annotated: ids of the nodes the policy chose.
        nodes: a record of each node, in the order of the ids.
        thorax: what was drawn.
        supervision: how it is annotated.
        organs: masks of structures by their names, bool `z y x`; empty unless asked for.
    """

    image: Volume
    instances: Volume
    annotated: frozenset[int]
    nodes: tuple[dict[str, Any], ...]
    thorax: Thorax
    supervision: Supervision
    organs: Mapping[str, Mask] = field(default_factory=dict)


def make_case(
    seed: int,
    split: Split,
    number: int,
    policy: AnnotationPolicy,
    size_yx: int = 128,
    *,
    supervision: Supervision | None = None,
    organs: bool = False,
) -> PhantomCase:
    """Makes one phantom, a function of its arguments alone: other cases do not change it.

    Args:
        seed: the dataset's seed.
        split: `train`, `val` or `test`.
        number: 1 for the split's first case.
        policy: chooses the annotated nodes; it has a generator of its own, so that the images
            are the same under every policy.
        size_yx: rows and columns of a slice.
        supervision: `full`, `none`, or `partial`, by the policy; None = `partial` in `train`, else
            `full`.
        organs: whether masks of organs are made, too; they change nothing else.
    """
    key = ("phantom", split, number)
    thorax = draw_thorax(generator(seed, *key, "anatomy"))
    acquisition = draw_acquisition(generator(seed, *key, "scan"), size_yx)
    grid, noise = acquisition.grid, generator(seed, *key, "noise")
    image, instances = render(thorax, grid, acquisition.offset_mm, acquisition.quality, noise)
    instances, nodes = _describe(instances, thorax, acquisition)
    volumes = {node["id"]: node["volume_mm3"] for node in nodes}
    kind = supervision or ("partial" if split == "train" else "full")
    annotated = frozenset(volumes if kind == "full" else ())
    if kind == "partial":
        annotated = policy.choose(volumes, generator(seed, *key, "annotation"))
    for node in nodes:
        node["annotated"] = node["id"] in annotated
    masks = {}
    if organs:
        rng = generator(seed, *key, "organs")
        masks = organ_masks(thorax, acquisition, rng)
    return PhantomCase(
        Volume(image, grid), Volume(instances, grid), annotated, tuple(nodes), thorax, kind, masks
    )


def _describe(
    instances: NDArray[np.uint8], thorax: Thorax, acquisition: Acquisition
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Numbers the visible nodes 1..K and measures each."""
    counts = np.bincount(instances.ravel(), minlength=len(thorax.nodes) + 1)
    lookup = np.zeros(len(counts), np.uint8)
    records: list[dict[str, Any]] = []
    for number, node in enumerate(thorax.nodes, start=1):
        if counts[number] == 0:
            continue
        lookup[number] = len(records) + 1
        centroid = _centroid(instances == number, acquisition.grid)
        records.append(
            {
                "id": len(records) + 1,
                "station": node.station,
                "volume_mm3": round(float(counts[number]) * acquisition.grid.voxel_volume_mm3, 3),
                "short_axis_mm": round(node.short_axis_mm, 3),
                "centroid_mm": [round(float(value), 3) for value in centroid],
                "hu": round(node.hu, 1),
            }
        )
    return lookup[instances], records


def _centroid(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.nonzero(mask), axis=-1).mean(axis=0)
    return np.asarray(grid.to_world(index))
