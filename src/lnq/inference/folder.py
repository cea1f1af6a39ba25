"""Segmenting all scans of a folder, with a record of what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lnq.data.readers import unchanged
from lnq.errors import CaseError
from lnq.files import FAILURES, FailureLog, sole_user, write_manifest
from lnq.inference.found_nodes import NODES, FoundNode, write_nodes
from lnq.inference.predicted import PredictedCase
from lnq.inference.scans import PROBABILITIES, Job, segment
from lnq.inference.segmenter import Segmenter
from lnq.inference.sliding_window import Counted

Track = Callable[[Sequence[Job]], Iterable[Job]]


def predict_folder(
    segmenter: Segmenter,
    jobs: Sequence[Job],
    output: Path,
    *,
    config: Mapping[str, Any],
    say: Callable[[str], None],
    save_probabilities: bool = False,
    track: Track = iter,
    counted: Counted | None = None,
) -> int:
    """Segments every scan; a bad one is listed at the end and the others go on.

    Writes the masks, `nodes.csv`, `manifest.json` and, where a scan failed, `failures.json`.

    Args:
        segmenter: The trained network.
        jobs: The scans.
        output: Folder of the masks.
        config: The resolved configuration, for the manifest.
        say: Gets what the user should know, line by line.
        save_probabilities: Also write probabilities.
        track: Shows progress: gets the jobs, gives them back one by one.
        counted: As for `Segmenter.segment`.

    Returns:
        0, or 3 where a scan failed.

    Raises:
        UsageError: The output folder cannot be written or is in use.
    """
    failures = FailureLog()
    done: list[PredictedCase] = []
    nodes: list[tuple[str, Sequence[FoundNode]]] = []
    with sole_user(output):
        try:
            for job in track(jobs):
                try:
                    with unchanged(job.image) as digest:
                        found = segment(job, segmenter, output, save_probabilities, counted)
                except CaseError as error:
                    for name in (job.mask_name, f"{PROBABILITIES}/{job.probability_name}"):
                        (output / name).unlink(missing_ok=True)  # nor one of an earlier run
                    failures.add(job.name, error)
                    say(f"{job.name}: failed: {error}")
                    continue
                image = job.image.absolute()
                done.append(PredictedCase(job.name, image, job.mask_name, digest, found.notes))
                nodes.append((job.name, found.nodes))
                for note in found.notes:
                    say(f"{job.name}: note: {note}")
        finally:
            # Also where the run is interrupted: the manifest tells which masks are there.
            gone = [one for one in done if not (output / one.mask).is_file()]
            for one in gone:
                failures.add(one.case, _gone(output / one.mask))
            done = [one for one in done if one not in gone]
            lost = {one.case for one in gone}
            write_nodes(output / NODES, [(name, of) for name, of in nodes if name not in lost])
            used = {
                "path": str(segmenter.checkpoint.absolute()),
                "sha256": segmenter.checkpoint_sha256,
            }
            write_manifest(
                output, "predict", config, checkpoint=used, cases=[one.to_dict() for one in done]
            )
            code = failures.write(output)
    for one in gone:
        say(f"{one.case}: failed: {_gone(output / one.mask)}")
    count = sum(len(of_case) for name, of_case in nodes if name not in lost)
    say(f"{len(done)} of {len(jobs)} scans segmented, {count} nodes -> {output}")
    if code:
        say(f"failed scans are listed in {output / FAILURES}")
    return code


def _gone(mask: Path) -> CaseError:
    return CaseError(
        "the mask is gone", where=mask, why="something else removed it meanwhile",
        remedy="predict this scan again",
    )  # fmt: skip
