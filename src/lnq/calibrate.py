"""python -m lnq.calibrate run=DIR: chooses the threshold at which a run's network is used."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("calibrate")  # before the imports below, which take seconds

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.progress import track

from lnq.acceleration import DEVICES, Precision
from lnq.calibration import Calibration, GivenRule, write_calibration
from lnq.config import Paths, command, instantiate
from lnq.console import console, told_when_interrupted
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.evaluation.operating_point import Choice
from lnq.files import sole_user
from lnq.inference.loading import load_predictor
from lnq.inference.sliding_window import BatchSize, Overlap
from lnq.networks.transfer import read_checkpoint, read_record
from lnq.reporting import calibration_figure, save
from lnq.resuming import unfinished
from lnq.run_folder import RunFolder
from lnq.runs.calibrating import RunSettings, calibrate, choose_rule, mean_node_ml, unseen_cases
from lnq.runs.next_steps import command_line, override


@dataclass(frozen=True)
class CalibrateConfig:
    """Root of conf/calibrate.yaml.

    Attributes:
        run: Run folder of `lnq.train`.
        checkpoint: A checkpoint of this run; None = its last.
        store: Folder that `lnq.preprocess` wrote; None = where the run's was.
        rule: What is to be largest, as `lnq.evaluation.operating_point` says; auto as of
            `lnq.runs.calibrating.choose_rule`.
        expected_nodes: Nodes a scan that are expected, for expected_dice; None = what the run's
            configuration says, if it does.
        smoothing: Of the recall, in units of the logit.
        confidence: With which thresholds are told from the best one.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
        min_overlap: Share of a node's voxels that makes it found, as of evaluate.
        device: auto, cpu, cuda or cuda:N.
        overlap: Of neighbouring windows.
        mirror: Average over all flips.
        batch_size: Windows at a time.
        precision: Of the network.
        postprocess: Settings of `lnq.inference.post_processing.PostProcessing`.
        paths: Where everything goes.
    """

    run: Path
    checkpoint: Path | None
    store: Path | None
    rule: GivenRule
    expected_nodes: Annotated[float, Field(gt=0, le=1000)] | None
    smoothing: Annotated[float, Field(ge=0, le=4)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    draws: Annotated[int, Field(ge=1, le=100_000)]
    seed: Annotated[int, Field(ge=0)]
    min_overlap: Annotated[float, Field(gt=0, le=1)]
    device: Annotated[str, Field(pattern=f"^({DEVICES})$")]
    overlap: Overlap
    mirror: bool
    batch_size: Literal["auto"] | BatchSize
    precision: Literal["auto"] | Precision
    postprocess: dict[str, Any]
    paths: Paths

    @staticmethod
    def conflicts(root: Mapping[str, Any]) -> list[str]:
        """What is wrong between several keys of the root, checked or not."""
        rule, expected = root.get("rule"), root.get("expected_nodes")
        if expected is None or rule in ("auto", "expected_dice"):
            return []
        return [f"expected_nodes={expected}: only for rule=expected_dice; leave one of them out"]


@command("calibrate", CalibrateConfig)
def main(cfg: CalibrateConfig) -> int:
    """Predicts cases that training never saw, chooses the threshold and keeps it in the run."""
    run, out = RunFolder(cfg.run), console()
    checkpoint = read_checkpoint(cfg.checkpoint or cfg.run)
    record = read_record(checkpoint.path)
    settings = RunSettings.of(record, checkpoint.path)
    store = CaseStore(cfg.store or settings.store)
    expected = cfg.expected_nodes or settings.expected_nodes
    # Who says so here means it; what the run expects is used where nothing can be measured.
    wanted: GivenRule = cfg.rule if cfg.expected_nodes is None else "expected_dice"
    rule = choose_rule(wanted, store, record, expects=expected is not None)
    cases = unseen_cases(store, record, rule)
    expected = expected if rule == "expected_dice" else None
    expected_ml = None if expected is None else expected * mean_node_ml(store, record)
    predictor = load_predictor(
        [checkpoint], instantiate(cfg.postprocess), cfg.device, overlap=cfg.overlap,
        mirror=cfg.mirror, batch_size=cfg.batch_size, disagreement=False, precision=cfg.precision,
    )  # fmt: skip
    if told := unfinished(run):
        out.print(f"note: {told}")
    choice = Choice(rule, expected_ml, cfg.smoothing, cfg.confidence, cfg.draws, cfg.seed)
    with (
        sole_user(run.path),
        told_when_interrupted("nothing was written; the same command begins again"),
    ):
        calibration = calibrate(
            predictor, checkpoint.sha256, store, cases, choice,
            expected_nodes=expected, min_overlap=cfg.min_overlap, say=out.print, track=_progress,
        )  # fmt: skip
        figure = calibration_figure(calibration)
        for suffix in (".svg", ".png"):
            save(figure, run.calibration_figure.with_suffix(suffix))
        write_calibration(run, calibration, asdict(cfg))
    _tell(run, calibration)
    return 3 if calibration.failures else 0


def _progress(cases: Sequence[CaseRecord]) -> Iterable[CaseRecord]:
    return track(cases, "predicting", console=console(stderr=True), transient=True)


def _tell(run: RunFolder, calibration: Calibration) -> None:
    out = console()
    out.print(f"{calibration}")
    out.print(f"rests on {calibration.basis} -> {run.calibration}")
    if calibration.is_at_an_end:
        out.print("note: it is the last of the thresholds that were tried: see the figure")
    words = (override("checkpoint", run.path), "input=SCANS")
    out.print(f"{'next':<12}{command_line('predict', *words)}")


if __name__ == "__main__":
    main()
