"""`nodes.csv`: the nodes of predicted masks, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from lnq.node_shape import NodeShape
from lnq.tables import write_table

NODES = "nodes.csv"
ENLARGED_MM = 10.0
"""Short axis from which on RECIST 1.1 calls a lymph node pathological."""


@dataclass(frozen=True)
class FoundNode(NodeShape):
    """One 26-connected piece of a predicted mask; a row of `nodes.csv`, with its place and size.

    Attributes:
        mean_hu: Mean of the scan in it, HU.
        mean_probability: Mean of the main branch's probability in it, in [0, 1].
        disagreement: Mean of |p_main - p_aux| in it, in [0, 1]; None where the auxiliary branch
            was not evaluated. The difference and not the KL divergence of Eq. 8: it has
            probability's own scale, favours neither branch, and is not ruled by the few voxels in
            which one of them is nearly certain.
        enlarged: Whether the short axis is at least `ENLARGED_MM`.
    """

    mean_hu: float
    mean_probability: float
    disagreement: float | None
    enlarged: bool


def write_nodes(path: Path, cases: Sequence[tuple[str, Sequence[FoundNode]]]) -> None:
    """Writes the table of all nodes: case, number within the case from 1 on, measures."""
    rows = [
        {"case": case, "node": number, **asdict(node)}
        for case, nodes in cases
        for number, node in enumerate(nodes, start=1)
    ]
    columns = ["case", "node", *(field.name for field in fields(FoundNode))]
    table = pd.DataFrame(rows, columns=columns)
    write_table(path, table, float_format="%.6g")
