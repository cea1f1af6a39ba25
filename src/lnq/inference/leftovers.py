"""What earlier predictions left in a folder: nothing old may pass for a new mask's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lnq.data.readers import SUFFIXES
from lnq.errors import LnqError
from lnq.files import FAILURES, MANIFEST
from lnq.inference.mask_files import Job
from lnq.predictions import NODES, PREVIEWS, PROBABILITIES, read_predicted

_MASK_ENDINGS = (*SUFFIXES, ".dcm")


def remove_leftovers(output: Path, jobs: Sequence[Job]) -> None:
    """Removes what earlier predictions left of the same scans, and the tables of all.

    Masks go as far as a manifest lists them: other files that are called so are not ours. Masks of
    other scans stay.

    Args:
        output: Folder of the masks.
        jobs: The scans that are predicted now.
    """
    names = {job.name for job in jobs}
    masks = [output / mask for case, mask in _listed(output) if case in names]
    for path in (*masks, *(output / name for name in (MANIFEST, NODES, FAILURES))):
        path.unlink(missing_ok=True)
    for folder, endings in ((PROBABILITIES, _MASK_ENDINGS), (PREVIEWS, (".png",))):
        for name in names:
            for ending in endings:
                (output / folder / f"{name}{ending}").unlink(missing_ok=True)
        if (output / folder).is_dir() and not any((output / folder).iterdir()):
            (output / folder).rmdir()


def other_masks(output: Path, jobs: Sequence[Job]) -> list[str]:
    """Names of the masks in a folder that these jobs do not make."""
    made = {job.mask_name for job in jobs}
    return sorted(
        path.name
        for path in output.iterdir()
        if path.name.endswith(_MASK_ENDINGS) and path.name not in made and path.name[0] != "."
    )


def _listed(output: Path) -> list[tuple[str, str]]:
    """Cases and masks of the folder's manifest; none where it lists anything else."""
    try:
        _, cases = read_predicted(output)
    except (LnqError, ValueError):
        return []
    # A name in a stranger's manifest leads nowhere else.
    return [(one.case, one.mask) for one in cases if Path(one.mask).name == one.mask]
