"""`nodes.csv`: the nodes of predicted masks, one a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from lnq.errors import LnqError, UsageError
from lnq.files import MANIFEST, sha256
from lnq.node_shape import NodeShape
from lnq.predictions.manifest import read_predicted
from lnq.tables import read_table, write_table

NODES = "nodes.csv"
HASH = "nodes_sha256"
"""Key of the manifest: of that file's content."""
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


_NODES = TypeAdapter(list[FoundNode])


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


def nodes_of_masks(folder: Path) -> dict[str, list[FoundNode]] | None:
    """The nodes of each mask that a folder's manifest lists, by the mask's file name.

    Returns:
        None where there is no `nodes.csv`: masks of another program.

    Raises:
        UsageError: It is not the one that the manifest was written for, or one of both is damaged.
    """
    if not (folder / NODES).is_file():
        return None
    try:
        manifest, cases = read_predicted(folder)
        if manifest.get(HASH) != sha256(folder / NODES):
            raise ValueError(f"it is not the one that {MANIFEST} was written for")
        by_case = _read_nodes(folder / NODES)
    except (LnqError, OSError, ValueError) as error:
        raise UsageError(
            "the table of nodes cannot be used", where=folder / NODES,
            why=str(error).splitlines()[0], remedy="run lnq.predict again",
        ) from error  # fmt: skip
    return {one.mask: by_case.get(one.case, []) for one in cases}


def _read_nodes(path: Path) -> dict[str, list[FoundNode]]:
    """By case, in the order of their numbers; a case without nodes is not in it."""
    table = read_table(path, ["disagreement"])
    records = table.drop(columns=["case", "node"]).astype(object).where(table.notna(), None)
    nodes: dict[str, list[FoundNode]] = {}
    for case, node in zip(
        table["case"], _NODES.validate_python(records.to_dict("records")), strict=True
    ):
        nodes.setdefault(case, []).append(node)
    return nodes
