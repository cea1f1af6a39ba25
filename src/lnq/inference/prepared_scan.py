"""What is done with a scan before the network sees it: read, with all checks, and prepared."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import SimpleITK as sitk

from lnq.data.case import DicomScan
from lnq.data.preparation.examination import examine_scan, joined_notes
from lnq.data.preparation.preprocessing import Prepared, Preprocessing
from lnq.data.readers.in_memory import IN_MEMORY
from lnq.errors import CaseError, memory_for
from lnq.volume import Volume

GivenScan = str | PathLike[str] | DicomScan | sitk.Image
"""A file, a folder of DICOM slices or one of them, the slices, or an image of Hounsfield units."""


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan that the network can be given.

    Attributes:
        place: Where it comes from, for messages.
        image: HU, as it was read.
        prepared: As the network sees it.
        notes: What is odd about it, and what the doctor calls a problem of it.
    """

    place: str
    image: Volume
    prepared: Prepared
    notes: tuple[str, ...]


def prepare_scan(scan: GivenScan, preprocessing: Preprocessing) -> PreparedScan:
    """Reads a scan, or takes one in memory, and prepares it.

    Args:
        scan: The scan.
        preprocessing: That of the network's training.

    Raises:
        CaseError: The scan cannot be used.
        UsageError: A DICOM folder holds several scans.
    """
    given = scan if isinstance(scan, DicomScan | sitk.Image) else Path(scan)
    place = str(IN_MEMORY) if isinstance(given, sitk.Image) else str(given)
    try:
        with memory_for(place):
            examined = examine_scan(given)
            image, anatomy = examined.image, examined.anatomy
            if image is None or anatomy is None:
                raise examined.problems[0]
            prepared = preprocessing.apply(image, anatomy.chest)
    except CaseError as error:
        raise error.at(place) from error
    doubts = [str(problem) for problem in examined.problems]
    notes = joined_notes([*doubts, *examined.notes], prepared.notes)
    return PreparedScan(place, image, prepared, tuple(notes))
