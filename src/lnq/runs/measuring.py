"""A trained run measured on complete references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from lnq.acceleration import reads_ahead
from lnq.config import instantiate
from lnq.data.case import ScanPath, first_path
from lnq.data.datasets.checks import shortened
from lnq.data.readers import find_scans
from lnq.data.store.case_store import CaseStore
from lnq.errors import LnqError, UsageError
from lnq.evaluation import Evaluation, ReferenceKind, evaluate_folders, read_evaluation
from lnq.files import FAILURES, MANIFEST
from lnq.inference.mask_files import plan
from lnq.inference.scan_folder import predict_folder
from lnq.inference.segmenter import Segmenter
from lnq.inference.sliding_window import Overlap
from lnq.networks.transfer import read_record
from lnq.predictions import read_predicted
from lnq.run_folder import MeasuredFolder, RunFolder


@dataclass(frozen=True)
class Measurement:
    """What a run is measured on once it is trained.

    Attributes:
        input: Scans.
        references: Their complete labels.
        output: Folder that gets `predictions/` and `evaluation/`.
        reference_kind: As of `lnq.evaluate`.
        overlap: As of `lnq.predict`.
        min_overlap: As of `lnq.evaluate`.
        annotations: As of `lnq.evaluate`.
        postprocess: Settings of `lnq.inference.post_processing.PostProcessing`.
        held_out: Only those scans that the run held out of its training.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    input: Path
    references: Path
    output: Path
    reference_kind: ReferenceKind
    overlap: Overlap
    min_overlap: Annotated[float, Field(gt=0, le=1)]
    annotations: Path | None
    postprocess: dict[str, Any]
    held_out: bool = False

    def check(self) -> None:
        """Refuses folders that are not there, before a network is trained to be measured on them.

        Raises:
            UsageError: Names the first one.
        """
        for role in ("input", "references", "annotations"):
            folder = getattr(self, role)
            if folder is not None and not folder.exists():
                raise UsageError("nothing to measure on", where=f"measure: {role}={folder}",
                                 why="no such folder")  # fmt: skip

    def stands(self) -> bool:
        """Whether it was made with these settings, of all cases, and is there as it was written.

        Raises:
            UsageError: It is damaged.
        """
        place = MeasuredFolder(self.output)
        folders = (place.predictions, place.evaluation)
        if any(not (f / MANIFEST).is_file() or (f / FAILURES).exists() for f in folders):
            return False
        try:
            predicted, cases = read_predicted(place.predictions)
        except (LnqError, ValueError) as error:
            raise UsageError(
                "a measurement is damaged", where=place.predictions / MANIFEST,
                why=str(error).splitlines()[0],
                remedy=f"remove {place.predictions}: it is measured again",
            ) from error  # fmt: skip
        evaluated = read_evaluation(place.evaluation).manifest
        made_so = all(m.get("config") == self.record() for m in (predicted, evaluated))
        return made_so and all((place.predictions / case.mask).is_file() for case in cases)

    def record(self) -> dict[str, Any]:
        """Its settings as manifests hold them."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Measured:
    """What came of a measurement.

    Attributes:
        evaluation: What the masks are worth.
        exit_code: 0, or 3 where a case could not be segmented or evaluated.
    """

    evaluation: Evaluation
    exit_code: int


def measure(
    run: Path, measurement: Measurement, device: str, say: Callable[[str], None]
) -> Measured:
    """Predicts and evaluates as the commands do.

    Args:
        run: The run's folder.
        measurement: What on.
        device: As for `choose_device`.
        say: As for `predict_folder`.
    """
    segmenter = Segmenter.load(
        run, device, overlap=measurement.overlap,
        postprocess=instantiate(measurement.postprocess), threshold=0.5,
    )  # fmt: skip
    place, config = MeasuredFolder(measurement.output), measurement.record()
    scans = find_scans(measurement.input)
    if measurement.held_out:
        scans = _held_out(run, scans, say)
    jobs = plan(scans, measurement.input, place.predictions, None)
    code = predict_folder(
        segmenter, jobs, place.predictions, config=config, say=say,
        ahead=reads_ahead(segmenter.predictor.device),
    )  # fmt: skip
    evaluation = evaluate_folders(
        place.predictions, measurement.references, place.evaluation,
        config=config, reference_kind=measurement.reference_kind,
        min_overlap=measurement.min_overlap, annotations=measurement.annotations,
        only_predicted=measurement.held_out,
    )  # fmt: skip
    return Measured(evaluation, max(code, evaluation.exit_code))


def _held_out(run: Path, scans: Sequence[ScanPath], say: Callable[[str], None]) -> list[ScanPath]:
    """Those of some scans that a run held out, as its store has read them.

    Raises:
        UsageError: There is none.
    """
    record = read_record(RunFolder(run).checkpoint)
    store = CaseStore(Path(record.config["store"]))
    wanted = {store.record(case).image.resolve(): case for case in record.held_out}
    there = {place: s for s in scans if (place := first_path(s).resolve()) in wanted}
    if not there:
        raise UsageError(
            "no scan to measure on was held out", where=run,
            why=f"{len(wanted)} were, and none of them is among these {len(scans)}",
            remedy="give the scans that were preprocessed, and a fold or a holdout",
        )  # fmt: skip
    elsewhere = sorted(wanted[image] for image in wanted.keys() - there.keys())
    if elsewhere:
        say(f"note: held out, but not among the scans to measure on: {shortened(elsewhere)}")
    return list(there.values())
