"""Trained networks for programs: from a scan to its nodes, without configuration or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import SimpleITK as sitk

from lnq.acceleration import Precision
from lnq.errors import CaseError, memory_for
from lnq.inference.found_nodes import found_nodes
from lnq.inference.loading import load_predictor
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Predictor
from lnq.inference.prepared_scan import GivenScan, PreparedScan, prepare_scan
from lnq.inference.sliding_window import Counted
from lnq.inference.threshold import GivenThreshold, choose_threshold
from lnq.networks.transfer import read_checkpoint
from lnq.predictions import FoundNode, Threshold
from lnq.volume import Volume, to_sitk


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in a scan; mask and probability are on exactly the scan's grid.

    Attributes:
        mask_volume: uint8 array `z y x` with its grid, 1 = lymph node, after post-processing.
        probability_volume: float32 in [0, 1], before it, of several networks the mean; 0 outside
            the lungs' surroundings.
        nodes: The nodes found, the largest first; the rows of `nodes.csv`.
        notes: What a reader of the mask must know, a sentence each.
    """

    mask_volume: Volume
    probability_volume: Volume
    nodes: tuple[FoundNode, ...]
    notes: tuple[str, ...]

    @property
    def mask(self) -> sitk.Image:
        """A new image of the mask, uint8."""
        return to_sitk(self.mask_volume)

    @property
    def probability(self) -> sitk.Image:
        """A new image of the probability, float32."""
        return to_sitk(self.probability_volume)


@dataclass(frozen=True)
class LoadedCheckpoint:
    """Where a network came from.

    Attributes:
        path: The file.
        sha256: Of the bytes that were loaded from it.
    """

    path: Path
    sha256: str


class Segmenter:
    """A trained network, or several as one; `load` makes it of runs or checkpoints.

    It prints nothing, and what the process holds besides, random numbers included, stays as it is.

    Attributes:
        predictor: The networks with their preprocessing and post-processing.
        checkpoints: The files that they came from.
        threshold: Where the predictor cuts, and why there.
    """

    def __init__(
        self,
        predictor: Predictor,
        checkpoints: Sequence[LoadedCheckpoint],
        threshold: Threshold = Threshold(),  # noqa: B008 (frozen)
    ) -> None:
        self.predictor = predictor
        self.checkpoints = tuple(checkpoints)
        self.threshold = threshold

    @classmethod
    def load(
        cls,
        run_or_checkpoint: str | PathLike[str] | Sequence[str | PathLike[str]],
        device: str = "auto",
        *,
        overlap: float = 0.5,
        mirror: bool = False,
        batch_size: int | Literal["auto"] = "auto",
        postprocess: PostProcessing | None = PostProcessing(),
        disagreement: bool = False,
        precision: Literal["auto"] | Precision = "auto",
        threshold: GivenThreshold = "auto",
    ) -> Segmenter:
        """Loads trained networks. A checkpoint is data: nothing in it is executed.

        Args:
            run_or_checkpoint: A run folder of `lnq.train`, a `.ckpt` file, or a `.pth` of the
                authors' code. Of several the foreground probabilities are averaged, before the cut.
            device: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
            overlap: Of neighbouring windows, in [0, 1).
            mirror: Average over all flips: eight times the work.
            batch_size: Windows at a time; `auto` = as many as are fast on the device.
            postprocess: What is removed from masks; None = nothing.
            disagreement: Measure for each node how far the two decoders are apart; 61 % more work.
            precision: Of the network, `32`, `"16-mixed"` or `"bf16-mixed"`; `auto` = 16-mixed on a
                GPU, 32 on a CPU.
            threshold: Voxels whose probability is above it are nodes, in (0, 1); `auto` = that of
                the run's calibration, where it is of this very checkpoint, else 0.5.

        Raises:
            UsageError: There is no such checkpoint or device, the checkpoint is damaged or of
                another program, its network does not segment or has one decoder too few,
                several differ in patch or preprocessing or are the same, the run's calibration is
                damaged, or an option is out of its range.
        """
        if isinstance(run_or_checkpoint, str | PathLike):
            run_or_checkpoint = [run_or_checkpoint]
        checkpoints = [read_checkpoint(Path(each)) for each in run_or_checkpoint]
        chosen = choose_threshold(threshold, checkpoints)
        predictor = load_predictor(
            checkpoints, postprocess or PostProcessing("none", hu_window=None, min_volume_mm3=0.0),
            device, overlap=overlap, mirror=mirror, batch_size=batch_size,
            disagreement=disagreement, precision=precision, threshold=chosen.value,
        )  # fmt: skip
        loaded = [LoadedCheckpoint(each.path, each.sha256) for each in checkpoints]
        return cls(predictor, loaded, chosen)

    def prepare(self, scan: GivenScan) -> PreparedScan:
        """Reads and prepares a scan, which is all that `segment` does before its network begins.

        It may be done in a thread while `segment` works on another scan.

        Args:
            scan: As for `segment`.

        Raises:
            CaseError: The scan cannot be used.
            UsageError: A DICOM folder holds several scans.
        """
        return prepare_scan(scan, self.predictor.preprocessing)

    def segment(
        self, scan: GivenScan | PreparedScan, counted: Counted | None = None
    ) -> Segmentation:
        """Finds the lymph nodes of a scan.

        A scan in memory passes the checks of a file as far as they apply. What the doctor calls a
        problem of a scan that can be read is a note here.

        Args:
            scan: `.nrrd`, `.nhdr`, `.nii`, `.nii.gz`, `.mha`, `.mhd`, a folder of DICOM slices, in
                whatever folders below it, one of them, or the slices; an image of Hounsfield
                units; or what `prepare` made of one of these.
            counted: Called with the number of windows done and that of all, as they are done.

        Raises:
            CaseError: The scan cannot be used.
            UsageError: A DICOM folder holds several scans.
        """
        given = scan if isinstance(scan, PreparedScan) else self.prepare(scan)
        try:
            with memory_for(given.place):
                predicted = self.predictor.predict(given.image, given.prepared, counted)
                nodes = tuple(found_nodes(predicted, given.image))
        except CaseError as error:
            raise error.at(given.place) from error
        return Segmentation(predicted.mask, predicted.probability, nodes, given.notes)
