"""Which nodes of a phantom an annotator outlined: the policies of partial annotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from pydantic import Field


class AnnotationPolicy(Protocol):
    """Chooses the annotated nodes of one case."""

    def choose(self, volumes_mm3: dict[int, float], rng: np.random.Generator) -> frozenset[int]:
        """Returns the ids to annotate: at least one where there is any, always a subset.

        Args:
            volumes_mm3: volume of each node by its instance id.
            rng: generator of this case's annotation; policies without chance leave it alone.
        """
        ...


@dataclass(frozen=True)
class LargestNodes:
    """Annotates the `count` largest nodes, as a reader measuring target lesions does."""

    count: Annotated[int, Field(ge=1)] = 2

    def choose(self, volumes_mm3: dict[int, float], rng: np.random.Generator) -> frozenset[int]:
        """Returns the largest nodes; among equals the smaller id wins."""
        del rng
        by_size = sorted(volumes_mm3, key=lambda node: (-volumes_mm3[node], node))
        return frozenset(by_size[: self.count])


@dataclass(frozen=True)
class RandomNodes:
    """Annotates `count` nodes drawn evenly, all of them where there are fewer."""

    count: Annotated[int, Field(ge=1)] = 2

    def choose(self, volumes_mm3: dict[int, float], rng: np.random.Generator) -> frozenset[int]:
        """Returns `count` nodes drawn without replacement."""
        order = rng.permutation(sorted(volumes_mm3))
        return frozenset(int(node) for node in order[: self.count])


@dataclass(frozen=True)
class VolumeShare:
    """Annotates nodes in random order until about `share` of the node volume is reached.

    A node that would miss the aim by more than leaving it out is skipped, so the share holds on
    average; a case's only large node may be left out or make up nearly all of it.
    """

    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1 / 3

    def choose(self, volumes_mm3: dict[int, float], rng: np.random.Generator) -> frozenset[int]:
        """Returns the chosen nodes; the smallest one where every node overshoots."""
        if not volumes_mm3:
            return frozenset()
        aim = self.share * sum(volumes_mm3.values())
        chosen: set[int] = set()
        total = 0.0
        for node in (int(node) for node in rng.permutation(sorted(volumes_mm3))):
            if total + volumes_mm3[node] / 2 <= aim * (1 + 1e-9):
                chosen.add(node)
                total += volumes_mm3[node]
        if not chosen:
            chosen.add(min(volumes_mm3, key=lambda node: (volumes_mm3[node], node)))
        return frozenset(chosen)
