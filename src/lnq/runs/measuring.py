"""A trained run measured on complete references."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

from lnq.config import instantiate
from lnq.console import console
from lnq.data.readers import find_scans
from lnq.errors import UsageError
from lnq.evaluation import ReferenceKind, evaluate_folders
from lnq.files import FAILURES, MANIFEST, read_json
from lnq.inference.folder import predict_folder
from lnq.inference.loading import load_predictor
from lnq.inference.scans import plan
from lnq.networks.transfer import read_checkpoint
from lnq.run_folder import MeasuredFolder


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
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    input: Path
    references: Path
    output: Path
    reference_kind: ReferenceKind
    overlap: Annotated[float, Field(ge=0, lt=1)]
    min_overlap: Annotated[float, Field(gt=0, le=1)]
    annotations: Path | None
    postprocess: dict[str, Any]

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
        """Whether it was made with these settings, of all cases."""
        place = MeasuredFolder(self.output)
        for folder in (place.predictions, place.evaluation):
            manifest = folder / MANIFEST
            if not manifest.is_file() or (folder / FAILURES).exists():
                return False
            if read_json(manifest)["config"] != self.record():
                return False
        return True

    def record(self) -> dict[str, Any]:
        """Its settings as manifests hold them."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def measure(run: Path, measurement: Measurement, device: str) -> int:
    """Predicts and evaluates as the commands do; 0, or 3 where a case failed.

    Args:
        run: The run's folder.
        measurement: What on.
        device: As for `choose_device`.
    """
    out = console()
    checkpoint = read_checkpoint(run)
    predictor = load_predictor(
        checkpoint, instantiate(measurement.postprocess), device, overlap=measurement.overlap
    )
    place = MeasuredFolder(measurement.output)
    jobs = plan(find_scans(measurement.input), measurement.input, place.predictions, None)
    code = predict_folder(
        predictor, checkpoint.path, jobs, place.predictions, config=measurement.record(),
        say=out.print,
    )  # fmt: skip
    found = evaluate_folders(
        place.predictions, measurement.references, place.evaluation,
        config=measurement.record(), reference_kind=measurement.reference_kind,
        min_overlap=measurement.min_overlap, annotations=measurement.annotations,
    )  # fmt: skip
    dice = found.summary["metrics"]["dice"]
    mean = "-" if dice["mean"] is None else f"{dice['mean']:.3f}"
    out.print(f"DSC {mean} on {dice['n']} cases -> {place.evaluation}")
    return max(code, found.exit_code)
