"""Which cases deserve a look, where to look, and the pictures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from lnq.data.readers import Scan, read_image, read_label
from lnq.errors import CaseError
from lnq.reporting.overlays import Scene, draw_scene, layers_of
from lnq.reporting.runs import EvaluationFiles, Run
from lnq.volume import Volume, components, reorient

PICTURE_BUDGET = 12_000_000
"""Characters of pictures a page may hold, so that it stays below 15 MB with all the rest."""


@dataclass(frozen=True)
class Picture:
    """One run's view of a case.

    Attributes:
        run: Name of the run.
        source: The `src` of the image; None where there is none.
        caption: Measures of the case, or why there is no picture.
    """

    run: str
    source: str | None
    caption: str


@dataclass(frozen=True)
class CaseView:
    """One case, the same slices for every run.

    Attributes:
        case: Id of the case.
        place: Where the slices lie, in words.
        pictures: One per run.
    """

    case: str
    place: str
    pictures: list[Picture]


@dataclass(frozen=True)
class _Focus:
    position_mm: tuple[float, float, float]
    words: str


def worst_cases(runs: Sequence[Run]) -> list[str]:
    """All evaluated cases, the largest error first.

    The order is that of the mean DSC over the runs, then of the mean ASSD; cases without a DSC
    (nothing to find, nothing found) come last.
    """
    tables = [run.evaluation.metrics for run in runs if run.evaluation is not None]
    if not tables:
        return []
    means = pd.concat(tables).groupby(level="case")[["dice", "assd_filled_mm"]].mean()
    ordered = means.sort_values(["dice", "assd_filled_mm"], ascending=[True, False])
    return [str(case) for case in ordered.index]


def view_cases(runs: Sequence[Run], max_cases: int) -> tuple[list[CaseView], int]:
    """Pictures of the cases with the largest error.

    Args:
        runs: Those with an evaluation are shown, in this order.
        max_cases: How many cases at most.

    Returns:
        The views, and how many of the `max_cases` were left out to keep the page small.
    """
    wanted = worst_cases(runs)[:max_cases]
    views: list[CaseView] = []
    size = 0
    for case in wanted:
        view = view_case(case, runs)
        size += sum(len(picture.source or "") for picture in view.pictures)
        if size > PICTURE_BUDGET:
            break
        views.append(view)
    return views, len(wanted) - len(views)


def view_case(case: str, runs: Sequence[Run]) -> CaseView:
    """Pictures of one case, one per run that has an evaluation."""
    evaluated = [(run.name, run.evaluation) for run in runs if run.evaluation is not None]
    images: dict[Path, Volume] = {}
    scenes: list[Scene | str] = []
    for _, evaluation in evaluated:
        try:
            scenes.append(_scene(case, evaluation, images))
        except CaseError as error:
            scenes.append(f"No picture: {error}")
    drawable = [scene for scene in scenes if isinstance(scene, Scene)]
    focus = _focus_on_node(case, [evaluation.nodes for _, evaluation in evaluated])
    if focus is None and drawable:
        focus = _focus_on_prediction(drawable)
    pictures = [
        Picture(
            name,
            draw_scene(scene, focus.position_mm) if focus and isinstance(scene, Scene) else None,
            _caption(case, evaluation) + (f" · {scene}" if isinstance(scene, str) else ""),
        )
        for (name, evaluation), scene in zip(evaluated, scenes, strict=True)
    ]
    return CaseView(case, focus.words if focus else "", pictures)


def _focus_on_node(case: str, tables: Sequence[pd.DataFrame]) -> _Focus | None:
    """The node that most runs missed, the largest of those; None where the case has no node."""
    nodes = pd.concat([table[table["case"] == case] for table in tables])
    if nodes.empty:
        return None
    ranked = nodes.assign(missed=~nodes["detected"].astype(bool)).groupby("node").agg(
        missed=("missed", "sum"), volume_mm3=("volume_mm3", "max")
    )  # fmt: skip
    number = ranked.sort_values(["missed", "volume_mm3"], ascending=False).index[0]
    node = nodes[nodes["node"] == number].iloc[0]
    position = (node["centroid_x_mm"], node["centroid_y_mm"], node["centroid_z_mm"])
    kind = "the largest missed node" if ranked.loc[number, "missed"] else "the largest node"
    status = ""
    if not pd.isna(node["annotated"]):
        status = ", annotated for training" if node["annotated"] else ", never annotated"
    words = (
        f"at {kind} (no. {number}: {node['short_axis_mm']:.0f} × {node['long_axis_mm']:.0f} mm, "
        f"{node['volume_mm3'] / 1000:.2f} ml, "
        f"{100 * node['overlap']:.0f} % of it predicted{status})"
    )
    return _Focus(position, words)


def _focus_on_prediction(scenes: Sequence[Scene]) -> _Focus:
    """The largest false positive of a case without nodes, else the middle of the scan."""
    largest, centre, words = 0, np.asarray(scenes[0].grid.size) / 2, "at the middle of the scan"
    grid = scenes[0].grid
    for scene in scenes:
        labels, _ = components(scene.layers["false_positive"])
        sizes = np.bincount(labels.ravel())[1:]
        if sizes.max(initial=0) > largest:
            largest, grid = int(sizes.max()), scene.grid
            centre = np.argwhere(labels == sizes.argmax() + 1).mean(axis=0)
            words = "at the largest false positive"
    x, y, z = grid.to_world(centre)
    return _Focus((float(x), float(y), float(z)), words)


def _scene(case: str, evaluation: EvaluationFiles, images: dict[Path, Volume]) -> Scene:
    """Reads what a picture needs; `images` keeps scans that several runs share."""
    files = evaluation.cases.get(case)
    if files is None:
        raise CaseError("this run's evaluation does not have the case")
    if files.image is None:
        raise CaseError("the predictions' manifest names no scan for it")
    if files.image not in images:
        images[files.image] = reorient(read_image(files.image))
    image = images[files.image]
    kind: Literal["binary", "instances"] = (
        "instances" if evaluation.numbered_reference else "binary"
    )
    reference = _on_grid(reorient(read_label(files.reference, kind=kind)), image, files.reference)
    mask = read_label(files.prediction, scan=Scan(files.image, image.grid))
    prediction = _on_grid(reorient(mask), image, files.prediction)
    annotation = None
    if files.annotation is not None:
        partial = reorient(read_label(files.annotation, kind="instances"))
        annotation = _on_grid(partial, image, files.annotation).array > 0
    nodes = evaluation.nodes[evaluation.nodes["case"] == case]
    detected: Mapping[int, bool] = dict(zip(nodes["node"], nodes["detected"], strict=True))
    layers = layers_of(
        reference.array, prediction.array > 0, annotation, detected,
        numbered=evaluation.numbered_reference,
    )  # fmt: skip
    return Scene(image.array, image.grid, layers)


def _on_grid(label: Volume, image: Volume, path: Path) -> Volume:
    difference = label.grid.difference(image.grid)
    if difference is not None:
        raise CaseError("not on the scan's grid", where=path, why=difference)
    return label


def _caption(case: str, evaluation: EvaluationFiles) -> str:
    if case not in evaluation.metrics.index:
        return "not evaluated"
    row = evaluation.metrics.loc[case]
    parts = [
        "DSC undefined" if pd.isna(row["dice"]) else f"DSC {row['dice']:.3f}",
        "no ASSD" if pd.isna(row["assd_mm"]) else f"ASSD {row['assd_mm']:.1f} mm",
        f"{row['nodes_detected']} of {row['nodes']} nodes found",
        f"false positives: {row['false_positives']}",
    ]
    return " · ".join(parts)
