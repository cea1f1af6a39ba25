"""python -m lnq.predict checkpoint=RUN_OR_CKPT input=FILE_OR_DIR output=DIR: segments scans."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("predict")  # before the imports below, which take seconds

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from lnq.acceleration import DEVICES, Precision, reads_ahead
from lnq.config import Paths, command, instantiate
from lnq.console import console, duration, told_when_interrupted
from lnq.data.readers import find_scans, read_image
from lnq.data.readers.left_out import summary
from lnq.errors import UsageError, memory_for
from lnq.inference.mask_files import Format, Job, plan
from lnq.inference.scan_folder import Show, predict_folder
from lnq.inference.segmenter import Segmentation, Segmenter
from lnq.inference.sliding_window import BatchSize, Overlap
from lnq.inference.threshold import GivenThreshold
from lnq.predictions import PREVIEWS
from lnq.reporting.preview import write_preview
from lnq.resuming import unfinished
from lnq.run_folder import RunFolder


@dataclass(frozen=True)
class PredictConfig:
    """Root of conf/predict.yaml.

    Attributes:
        checkpoint: Run folder of `lnq.train`, or a checkpoint file, the authors' `.pth` included;
            or several, whose probabilities are averaged.
        input: A scan, a DICOM folder, or a tree of these.
        output: Folder of the masks; None = `predictions` in the run folder.
        output_format: Format of all masks; None = each scan's own.
        threshold: Voxels whose probability is above it are nodes; auto = that of the run's
            calibration, where it is of this very checkpoint, else 0.5.
        save_probabilities: Also write probabilities.
        previews: Also draw a picture of each scan.
        disagreement: Also evaluate the auxiliary decoders, for a column of `nodes.csv`.
        device: auto, cpu, cuda or cuda:N.
        overlap: Of neighbouring windows.
        mirror: Average over all flips.
        batch_size: Windows at a time.
        precision: Of the networks.
        postprocess: Settings of `lnq.inference.post_processing.PostProcessing`.
        paths: Where everything goes.
    """

    checkpoint: Path | list[Path]
    input: Path
    output: Path | None
    output_format: Format | None
    threshold: GivenThreshold
    save_probabilities: bool
    previews: bool
    disagreement: bool
    device: Annotated[str, Field(pattern=f"^({DEVICES})$")]
    overlap: Overlap
    mirror: bool
    batch_size: Literal["auto"] | BatchSize
    precision: Literal["auto"] | Precision
    postprocess: dict[str, Any]
    paths: Paths

    @property
    def checkpoints(self) -> list[Path]:
        """Run folders and checkpoint files."""
        return self.checkpoint if isinstance(self.checkpoint, list) else [self.checkpoint]

    @property
    def place(self) -> Path:
        """Folder of the masks.

        Raises:
            UsageError: None is given, and the checkpoint is no run folder, or there are several.
        """
        if self.output is not None:
            return self.output
        one, *others = self.checkpoints
        if others or not one.is_dir():
            raise UsageError(
                "where shall the masks go?", remedy="give output=DIR",
                why="several checkpoints" if others else "checkpoint is no run folder",
            )  # fmt: skip
        return RunFolder(one).predictions


@command("predict", PredictConfig)
def main(cfg: PredictConfig) -> int:
    """Segments every scan; a bad one is listed at the end and the others go on."""
    segmenter = Segmenter.load(
        cfg.checkpoints, cfg.device, overlap=cfg.overlap, mirror=cfg.mirror,
        batch_size=cfg.batch_size, postprocess=instantiate(cfg.postprocess),
        disagreement=cfg.disagreement, precision=cfg.precision, threshold=cfg.threshold,
    )  # fmt: skip
    output = cfg.place
    jobs = plan(find_scans(cfg.input), cfg.input, output, cfg.output_format)
    out = console()
    if line := summary(cfg.input):
        out.print(line)
    for run in cfg.checkpoints:
        if told := unfinished(RunFolder(run)):
            out.print(f"note: {run}: {told}")
    out.print(str(segmenter.threshold))
    progress = _Progress(out)
    with told_when_interrupted(
        "masks that are done are listed in manifest.json; the same command begins again"
    ):
        return predict_folder(
            segmenter, jobs, output, config=asdict(cfg), say=out.print,
            ahead=reads_ahead(segmenter.predictor.device),
            save_probabilities=cfg.save_probabilities,
            track=progress.scans, counted=progress.windows,
            show=_draws_in(output) if cfg.previews else None,
        )  # fmt: skip


def _draws_in(output: Path) -> Show:
    """Draws scans beside their masks; each is read again, for it is not kept beside its mask."""

    def draw(job: Job, segmentation: Segmentation) -> None:
        with memory_for(job.image):
            picture = output / PREVIEWS / f"{job.name}.png"
            write_preview(read_image(job.image), segmentation.mask_volume, picture)

    return draw


class _Progress:
    """A bar that names the scan and counts its windows; where no terminal is, a line a scan.

    Args:
        out: Where to.
    """

    def __init__(self, out: Console) -> None:
        self._out = out
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("windows,"), TimeRemainingColumn(compact=True), TextColumn("left"),
            console=out, transient=True, disable=not out.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def scans(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Gives the scans back, one by one."""
        begun = time.monotonic()
        with self._bar:
            for number, job in enumerate(jobs, start=1):
                self._bar.reset(self._task, total=None)
                name = f"{number} of {len(jobs)}  {job.name}"
                self._bar.update(self._task, description=name)
                scan_begun = time.monotonic()
                yield job
                now = time.monotonic()
                left = (now - begun) / number * (len(jobs) - number)
                if not self._out.is_terminal:
                    rest = f"  {duration(left)} left" if number < len(jobs) else ""
                    self._out.print(f"{name}  {duration(now - scan_begun)}{rest}")

    def windows(self, done: int, total: int) -> None:
        """Moves the bar of the scan."""
        self._bar.update(self._task, completed=done, total=total)


if __name__ == "__main__":
    main()
