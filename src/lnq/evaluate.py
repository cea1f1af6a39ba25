"""python -m lnq.evaluate predictions=DIR references=DIR: measures per case and per node."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("evaluate")  # before the imports below, which take seconds

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.progress import track
from rich.table import Table

from lnq.config import Paths, command
from lnq.console import console, told_when_interrupted
from lnq.errors import CaseError, LnqError
from lnq.evaluation import Match, ReferenceKind, Summary, evaluate_folders
from lnq.evaluation.froc import rate_name
from lnq.evaluation.measures import PER_CASE
from lnq.run_folder import MeasuredFolder


@dataclass(frozen=True)
class EvaluateConfig:
    """Root of conf/evaluate.yaml.

    Attributes:
        predictions: Folder of binary masks.
        references: Folder of reference labels.
        output: Folder of the results; None = `evaluation/` beside the predictions.
        annotations: Folder of the partial labels used in training.
        reference_kind: Whether the references are binary or number their nodes.
        min_overlap: Share of a node's voxels that must be predicted for it to count as found. The
            default of a quarter allows for outlines that are uncertain by a voxel all around,
            which leaves (4/6)³ = 30 % of a node six voxels wide; a single voxel would count nodes
            that a neighbour's mask only brushes, a half would call well-marked small nodes missed.
        thresholds: Also measure the masks as cut at other thresholds.
        paths: Where everything goes.
    """

    predictions: Path
    references: Path
    output: Path | None
    annotations: Path | None
    reference_kind: ReferenceKind
    min_overlap: Annotated[float, Field(gt=0, le=1)]
    thresholds: bool
    paths: Paths

    @property
    def place(self) -> Path:
        """Folder of the results."""
        beside = Path(os.path.abspath(self.predictions)).parent  # noqa: PTH100 (links stay)
        return self.output or MeasuredFolder(beside).evaluation


@command("evaluate", EvaluateConfig)
def main(cfg: EvaluateConfig) -> int:
    """Evaluates and prints the summary."""
    output, cut_of = cfg.place, None
    if cfg.thresholds:
        from lnq.runs.recutting import recut  # torch: seconds, for whom it asks

        cut_of = recut(cfg.predictions)
    with told_when_interrupted("no table was written; the same command begins again"):
        result = evaluate_folders(
            cfg.predictions, cfg.references, output,
            config=asdict(cfg), reference_kind=cfg.reference_kind, min_overlap=cfg.min_overlap,
            annotations=cfg.annotations, cut_of=cut_of, track=_progress,
        )  # fmt: skip
    out = console()
    out.print(_table(result.summary))
    if result.threshold is not None:
        out.print(f"the masks were cut at {result.threshold}")
    if (others := result.summary.other_thresholds) is not None:
        at_half = "-" if others.dice_at_half is None else f"{others.dice_at_half:.3f}"
        out.print(
            f"DSC {at_half} at 0.5; at its best threshold, {others.best_threshold:.3g}, "
            f"{others.best_dice:.3f}"
        )
    if (froc := result.summary.froc) is not None:
        shown = ", ".join(f"{point.sensitivity:.2f}" for point in froc.at)
        rates = ", ".join(rate_name(point.false_positives_per_scan) for point in froc.at)
        out.print(
            f"FROC {froc.score:.3f}: {shown} of the nodes at {rates} false positives per case"
        )
    for note in result.notes:
        out.print(str(LnqError(f"note: {note}")))
    for failure in result.failures:
        out.print(str(_error(failure)))
    out.print(f"tables are in {output}")
    return result.exit_code


def _progress(cases: Sequence[Match]) -> Iterable[Match]:
    return track(cases, "evaluating", console=console(stderr=True), transient=True)


def _table(summary: Summary) -> Table:
    table = Table("", "mean", "sd", "median", "q25", "q75", "n", "undefined")
    metrics = summary.metrics
    for measure in PER_CASE:
        of = getattr(metrics, measure.column)
        numbers = (of.mean, of.sd, of.median, of.q25, of.q75)
        values = ["-" if number is None else f"{number:.3f}" for number in numbers]
        table.add_row(measure.title, *values, str(of.n), str(of.n_undefined))
    cases, nodes, never = summary.cases, summary.nodes, summary.nodes.never_annotated
    table.caption = (
        f"{cases.n_missing} cases without any predicted voxel, {cases.n_failed} failed; "
        f"{nodes.n_detected} of {nodes.n} nodes found, "
        + (f"{never.n_detected} of {never.n} never annotated ones; " if never.n else "")
        + f"{nodes.false_positives} false positives"
    )
    return table


def _error(failure: dict[str, str | None]) -> CaseError:
    """The error again: its text has no control characters, which file names may have."""
    where, why, remedy = failure["where"], failure["why"], failure["remedy"]
    return CaseError(f"failed: {failure['case']}: {failure['what']}", where=where, why=why,
                     remedy=remedy)  # fmt: skip


if __name__ == "__main__":
    main()
