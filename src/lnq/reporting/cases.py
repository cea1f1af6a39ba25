"""The cases shown in pictures: what is said about each, and where to look first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lnq.data.phantom.dataset import is_phantom
from lnq.errors import CaseError
from lnq.evaluation.measures import ASSD, DICE, FALSE_POSITIVES
from lnq.reporting.evaluations import ShownEvaluation
from lnq.reporting.runs import Run
from lnq.reporting.scenes import Scene, read_scene
from lnq.reporting.slices import Stack, fitting_stack, kinds_by_frame, volume_slice
from lnq.volume import components

MAX_PANELS = 4
"""How many runs are shown side by side."""

_MAX_JUMPS = 10
_TRACKS = ("missed", "false_positive", "found")


@dataclass(frozen=True)
class Jump:
    """A place worth looking at.

    Attributes:
        frame: Index of the slice in the stack.
        words: What is there.
        missed_by: Places of the runs that missed it.
    """

    frame: int
    words: str
    missed_by: list[int]


@dataclass(frozen=True)
class CaseView:
    """One case as runs with the same scan saw it.

    Attributes:
        case: Id of the case.
        captions: By the place of the run: its measures, and why it is not drawn if it is not.
        words: What is shown, or why nothing is.
        stack: The slices, if there are any.
        start: The slice shown first.
        jumps: The nodes that some run missed, the largest first.
        more_missed: How many missed nodes `jumps` leaves out.
        tracks: Per kind of outline, the slices that show it.
    """

    case: str
    captions: dict[int, str]
    words: str
    stack: Stack | None = None
    start: int = 0
    jumps: list[Jump] = field(default_factory=list)
    more_missed: int = 0
    tracks: Mapping[str, list[int]] = field(default_factory=dict)

    @property
    def is_phantom(self) -> bool:
        """Whether the pictures are of no patient."""
        return is_phantom(self.case)


def pictured_runs(runs: Sequence[Run]) -> list[int]:
    """The runs whose masks are shown: all evaluated ones, or of many the two best and two worst."""
    evaluated = [i for i, run in enumerate(runs) if run.evaluation is not None]
    if len(evaluated) <= MAX_PANELS:
        return evaluated
    ordered = sorted(evaluated, key=lambda i: _mean_dice(runs[i]))
    half = MAX_PANELS // 2
    return sorted([*ordered[:half], *ordered[-half:]])


def view_cases(cases: Sequence[str], runs: Sequence[Run], room: int) -> list[CaseView]:
    """Slices of cases, each with an even share of the room that is left.

    Args:
        cases: Ids, in the order of the page.
        runs: Those of `pictured_runs` are shown.
        room: Characters of the page.
    """
    views: list[CaseView] = []
    for place, case in enumerate(cases):
        groups = by_scan(case, runs)
        for rank, group in enumerate(groups):
            share = room // (len(cases) - place) // (len(groups) - rank)
            view = view_case(case, group, share)
            room -= view.stack.characters if view.stack else 0
            views.append(view)
    return views


def by_scan(case: str, runs: Sequence[Run]) -> list[dict[int, ShownEvaluation]]:
    """The pictured runs that have a case, those with the same scan together.

    Two runs on different data can have different scans under one name.
    """
    groups: dict[str, dict[int, ShownEvaluation]] = {}
    for number in pictured_runs(runs):
        evaluation = runs[number].evaluation
        if evaluation is not None and case in evaluation.cases:
            groups.setdefault(evaluation.scan_id(case), {})[number] = evaluation
    return list(groups.values())


def view_case(case: str, evaluations: Mapping[int, ShownEvaluation], room: int) -> CaseView:
    """One case, for runs that share its scan.

    Args:
        case: Id of the case.
        evaluations: By the place of the run.
        room: Characters of the page that its slices may take.
    """
    captions = {number: _caption(case, e) for number, e in evaluations.items()}
    try:
        scene = read_scene(case, evaluations)
    except CaseError as error:
        return CaseView(case, captions, f"No picture: {error}")
    for number, problem in scene.problems.items():
        captions[number] += f" · No outlines: {problem}"
    nodes = _nodes(case, evaluations)
    missed = nodes[nodes["missed_by"].map(len) > 0]
    places = [volume_slice(scene.image, _centroid(node)) for _, node in missed.iterrows()]
    start, words = _focus(scene, nodes, missed)
    stack = fitting_stack(scene, [start, *places], room)
    if stack is None:
        return CaseView(case, captions, "No picture: the page would become too large.")
    jumps = [
        Jump(stack.nearest(place), _jump_words(node), node["missed_by"])
        for place, (_, node) in zip(places[:_MAX_JUMPS], missed.iterrows(), strict=False)
    ]
    return CaseView(
        case, captions, f"{stack.words}, first the one {words}", stack, stack.nearest(start), jumps,
        len(missed) - len(jumps), kinds_by_frame(stack, _TRACKS),
    )  # fmt: skip


def _mean_dice(run: Run) -> float:
    assert run.evaluation is not None
    value = run.evaluation.summary.metrics.dice.mean
    return -1.0 if value is None else value


def _nodes(case: str, evaluations: Mapping[int, ShownEvaluation]) -> pd.DataFrame:
    """The reference's nodes, those that most runs missed first, then by volume.

    Rows are as in `reference_nodes.csv`, with `missed_by`: the places of the runs.
    """
    tables = []
    for number, evaluation in evaluations.items():
        nodes = evaluation.nodes[evaluation.nodes["case"] == case]
        tables.append(nodes.assign(run=number))
    everything = pd.concat(tables)
    missed = everything[~everything["detected"].astype(bool)].groupby("node")["run"].agg(list)
    nodes = everything.drop_duplicates("node").set_index("node")
    nodes["missed_by"] = [missed.get(number, []) for number in nodes.index]
    order = pd.DataFrame({"missed": nodes["missed_by"].map(len), "volume": nodes["volume_mm3"]})
    return nodes.loc[order.sort_values(["missed", "volume"], ascending=False).index]


def _focus(scene: Scene, nodes: pd.DataFrame, missed: pd.DataFrame) -> tuple[int, str]:
    """The slice to show first, and what is there."""
    if len(nodes):
        kind = "the largest missed node" if len(missed) else "the largest node"
        return volume_slice(scene.image, _centroid(nodes.iloc[0])), f"through {kind}"
    largest, place, words = 0, scene.image.grid.size[0] // 2, "in the middle of the scan"
    for layers in scene.layers.values():
        pieces, _ = components(layers.masks["false_positive"])
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.max(initial=0) > largest:
            largest, words = int(sizes.max()), "through the largest false positive"
            inside = np.argwhere(pieces == sizes.argmax() + 1)
            place = layers.box.start[0] + round(float(inside[:, 0].mean()))
    return place, words


def _centroid(node: pd.Series) -> tuple[float, float, float]:
    return node["centroid_x_mm"], node["centroid_y_mm"], node["centroid_z_mm"]


def _jump_words(node: pd.Series) -> str:
    status = ""
    if not pd.isna(node["annotated"]):
        status = ", annotated for training" if node["annotated"] else ", never annotated"
    size = f"{node['short_axis_mm']:.0f} × {node['long_axis_mm']:.0f} mm"
    return f"no. {node.name}, {size}{status}"


def _caption(case: str, evaluation: ShownEvaluation) -> str:
    row = evaluation.metrics.loc[case]
    dice, distance = row[DICE.column], row[ASSD.column]
    parts = [
        f"{DICE.short} undefined" if pd.isna(dice) else f"{DICE.short} {dice:.3f}",
        f"no {ASSD.short}" if pd.isna(distance) else f"{ASSD.short} {distance:.1f} mm",
        f"{row['nodes_detected']} of {row['nodes']} nodes found"
        if row["nodes"] else "the reference has no node",
        f"false positives: {row[FALSE_POSITIVES.column]}"
        if row["prediction_ml"] > 0 else "nothing was predicted",
    ]  # fmt: skip
    return " · ".join(parts)
