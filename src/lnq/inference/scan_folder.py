"""Segmenting all scans of a folder, with a record of what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lnq.data.case import absolute
from lnq.data.datasets.checks import shortened
from lnq.data.readers import content_hash, require_printable, require_unchanged
from lnq.errors import CaseError
from lnq.files import FAILURES, FailureLog, sha256, sole_user, write_manifest
from lnq.inference.leftovers import other_masks, remove_leftovers
from lnq.inference.mask_files import Job, write_masks
from lnq.inference.one_ahead import OneAhead
from lnq.inference.prepared_scan import PreparedScan
from lnq.inference.segmenter import Segmentation, Segmenter
from lnq.inference.sliding_window import Counted
from lnq.predictions import (
    HASH,
    NODES,
    PREVIEWS,
    PROBABILITIES,
    THRESHOLD,
    FoundNode,
    PredictedCase,
    write_nodes,
)

Track = Callable[[Sequence[Job]], Iterable[Job]]
Show = Callable[[Job, Segmentation], object]


def predict_folder(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    output: Path,
    *,
    config: Mapping[str, Any],
    say: Callable[[str], None],
    ahead: bool = False,
    save_probabilities: bool = False,
    track: Track = iter,
    counted: Counted | None = None,
    show: Show | None = None,
) -> int:
    """Segments every scan; a bad one is listed at the end and the others go on.

    Writes the masks, `nodes.csv`, `manifest.json` and, where a scan failed, `failures.json`. What
    an earlier prediction left of the same scans goes before; masks of others stay, and are told.

    Args:
        segmenter: The trained networks.
        jobs: The scans.
        output: Folder of the masks.
        config: The resolved configuration, for the manifest.
        say: Gets what the user should know, line by line.
        ahead: Read and prepare the next scan while the network works on the present one, in a
            thread: two are in memory then, and what comes out is the same.
        save_probabilities: Also write probabilities.
        track: Shows progress: gets the jobs, gives them back one by one.
        counted: As for `Segmenter.segment`.
        show: Called with each scan whose mask has been written.

    Returns:
        0, or 3 where a scan failed.

    Raises:
        UsageError: The output folder cannot be written or is in use.
    """

    def prepared(job: Job) -> _Prepared:
        require_printable(job.image)
        digest = content_hash(job.image)
        return _Prepared(digest, segmenter.prepare(job.image))

    record, scans = _Record(output), OneAhead(prepared, jobs, ahead=ahead)

    def written(job: Job, scan: PreparedScan) -> Segmentation:
        # Writing and drawing read the scan again, with settings of libraries that all threads share
        # (warnings, pydicom's strictness): until then the next scan has been read.
        with scans.meanwhile():
            segmentation = segmenter.segment(scan, counted)
        write_masks(segmentation, job, output, save_probabilities)
        if show is not None:
            show(job, segmentation)
        return segmentation

    with sole_user(output):
        remove_leftovers(output, jobs)
        try:
            for job in track(jobs):
                for line in _predicted(job, record, scans, written):
                    say(line)
        finally:
            # Also where the run is interrupted: the manifest tells which masks are there.
            for case, missing in record.miss_masks().items():
                say(f"{case}: failed: {missing}")
            code = record.write(config, segmenter)
            for line in record.told(jobs):
                say(line)
    return code


class _Prepared(NamedTuple):
    digest: str
    """Of the files from before they were read."""
    scan: PreparedScan


class _Record:
    """What was done in a folder of masks, for its tables.

    Args:
        output: The folder.

    Attributes:
        done: The scans that have a mask.
    """

    def __init__(self, output: Path) -> None:
        self.done: list[PredictedCase] = []
        self._output = output
        self._nodes: dict[str, Sequence[FoundNode]] = {}
        self._failures = FailureLog()

    def add(self, job: Job, digest: str, segmentation: Segmentation) -> None:
        image = absolute(job.image)
        self.done.append(PredictedCase(job.name, image, job.mask_name, digest, segmentation.notes))
        self._nodes[job.name] = segmentation.nodes

    def failed(self, job: Job, error: CaseError) -> None:
        self.remove(job)
        self._failures.add(job.name, error)

    def remove(self, job: Job) -> None:
        """Takes away what has been written of a scan that is not done."""
        probability = f"{PROBABILITIES}/{job.probability_name}"
        for name in (job.mask_name, probability, f"{PREVIEWS}/{job.name}.png"):
            (self._output / name).unlink(missing_ok=True)

    def miss_masks(self) -> dict[str, CaseError]:
        """Takes out the scans whose masks have gone since; they failed."""
        gone = {
            one.case: _gone(self._output / one.mask)
            for one in self.done
            if not (self._output / one.mask).is_file()
        }
        for case, error in gone.items():
            self._failures.add(case, error)
            del self._nodes[case]
        self.done = [one for one in self.done if one.case not in gone]
        return gone

    def write(self, config: Mapping[str, Any], segmenter: Segmenter) -> int:
        """Writes everything but the masks; gives the exit code, 0 or 3."""
        write_nodes(self._output / NODES, list(self._nodes.items()))
        used = [
            {"path": str(one.path.absolute()), "sha256": one.sha256}
            for one in segmenter.checkpoints
        ]
        cases = [one.to_dict() for one in self.done]
        facts = {
            "checkpoints": used, "cases": cases, HASH: sha256(self._output / NODES),
            THRESHOLD: segmenter.threshold.to_dict(),
        }  # fmt: skip
        write_manifest(self._output, "predict", config, **facts)
        return self._failures.write(self._output)

    def told(self, jobs: Sequence[Job]) -> Iterator[str]:
        """What the folder holds, a line each."""
        nodes = sum(map(len, self._nodes.values()))
        yield f"{len(self.done)} of {len(jobs)} scans segmented, {nodes} nodes -> {self._output}"
        if others := other_masks(self._output, jobs):
            yield f"note: masks of other scans stay in it, listed nowhere: {shortened(others)}"
        if self._failures.entries:
            yield f"failed scans are listed in {self._output / FAILURES}"


def _predicted(
    job: Job,
    record: _Record,
    scans: OneAhead[Job, _Prepared],
    written: Callable[[Job, PreparedScan], Segmentation],
) -> list[str]:
    """Segments a scan and records it or its fault; what the user should know of it."""
    try:
        digest, scan = scans.take()
        segmentation = written(job, scan)
        require_unchanged(job.image, digest)
    except CaseError as error:
        record.failed(job, error)
        return [f"{job.name}: failed: {error}"]
    except BaseException:  # such as Ctrl-C: no mask that nothing lists
        record.remove(job)
        raise
    record.add(job, digest, segmentation)
    return [f"{job.name}: note: {note}" for note in segmentation.notes]


def _gone(mask: Path) -> CaseError:
    return CaseError(
        "the mask is gone", where=mask, why="something else removed it meanwhile",
        remedy="predict this scan again",
    )  # fmt: skip
