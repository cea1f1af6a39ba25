"""Segmenting all scans of a folder, with a record of what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lnq.data.readers import content_hash
from lnq.errors import CaseError
from lnq.files import FAILURES, FailureLog, sha256, sole_user, write_manifest
from lnq.inference.found_nodes import NODES, FoundNode, write_nodes
from lnq.inference.predicted import PredictedCase
from lnq.inference.scans import Job, segment
from lnq.inference.segmenter import Segmenter

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
                    found = segment(job, segmenter, output, save_probabilities)
                except CaseError as error:
                    failures.add(job.name, error)
                    say(f"{job.name}: failed: {error}")
                    continue
                image = job.image.absolute()
                done.append(
                    PredictedCase(
                        job.name, image, job.mask_name, content_hash(job.image), found.notes
                    )
                )
                nodes.append((job.name, found.nodes))
                for note in found.notes:
                    say(f"{job.name}: note: {note}")
        finally:
            # Also where the run is interrupted: the manifest tells which masks are there.
            write_nodes(output / NODES, nodes)
            checkpoint = segmenter.checkpoint
            used = {"path": str(checkpoint.absolute()), "sha256": sha256(checkpoint)}
            write_manifest(
                output, "predict", config, checkpoint=used, cases=[one.to_dict() for one in done]
            )
            code = failures.write(output)
    count = sum(len(of_case) for _, of_case in nodes)
    say(f"{len(done)} of {len(jobs)} scans segmented, {count} nodes -> {output}")
    if code:
        say(f"failed scans are listed in {output / FAILURES}")
    return code
