"""Reading a case with every check that all commands apply, so that all of them say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from lnq.data.case import Case, ScanPath
from lnq.data.chest.anatomy import Anatomy, examine_anatomy
from lnq.data.chest.lungs import NO_LUNGS
from lnq.data.preparation.background import read_background
from lnq.data.preparation.node_size import no_nodes
from lnq.data.readers import Scan, read_image_with_notes, read_label_with_notes
from lnq.data.readers.alignment import align_label
from lnq.data.readers.in_memory import IN_MEMORY, scan_in_memory
from lnq.errors import CaseError
from lnq.volume import Volume

EMPTY_LABEL = (
    "the label holds no annotated voxel. Where nodes are visible, outline them or leave the label "
    "out"
)


@dataclass
class Examination:
    """A case as it was read.

    Attributes:
        image: The scan, HU; None = it cannot be read, as for all that follows.
        label: The annotation on the scan's grid; None = none, or none that can be used.
        background: What masks say can be no node, bool on the scan's grid; None as for the label.
        anatomy: Body and lungs of the scan.
        voxel_hash: SHA-256 of the scan's voxels, by which duplicates are found.
        mask_hash: The same of the annotation on the scan's grid; None = none, or an empty one.
        notes: Odd, but usable.
        problems: Why the case cannot be used as it is.
    """

    image: Volume | None = None
    label: Volume | None = None
    background: Volume | None = None
    anatomy: Anatomy | None = None
    voxel_hash: str = ""
    mask_hash: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[CaseError] = field(default_factory=list)


def examine_scan(scan: ScanPath | sitk.Image) -> Examination:
    """Reads a scan, or takes one in memory; what is wrong with it is listed, not raised."""
    examined = Examination()
    place = IN_MEMORY if isinstance(scan, sitk.Image) else scan
    try:
        if isinstance(scan, sitk.Image):
            examined.image = scan_in_memory(scan)
        else:
            examined.image, examined.notes = read_image_with_notes(scan)
    except CaseError as error:
        examined.problems.append(error.at(place))
        return examined
    examined.anatomy = examine_anatomy(examined.image)
    examined.notes += examined.anatomy.notes
    examined.problems += [
        CaseError("no usable scan of a chest", where=place, why=why, remedy=remedy)
        for why, remedy in examined.anatomy.faults
    ]
    return examined


def examine(case: Case) -> Examination:
    """Reads scan and annotation; what is wrong with them is listed, not raised."""
    if case.refusal is not None:
        return Examination(notes=list(case.notes), problems=[case.refusal])
    examined = examine_scan(case.image)
    examined.notes = [*case.notes, *examined.notes]
    if examined.image is None:
        return examined
    image = examined.image
    examined.voxel_hash = _hash(image)
    scan = Scan(case.image, image.grid)
    if case.label is not None:
        try:
            given, notes = read_label_with_notes(case.label, scan=scan, names=case.label_names)
            examined.label, moved = align_label(given, image.grid)
            notes += moved
        except CaseError as error:
            examined.problems.append(error.at(case.label))
        else:
            marked = bool(examined.label.array.any())
            examined.mask_hash = _hash(examined.label) if marked else None
            examined.notes += notes if marked else [*notes, EMPTY_LABEL]
            doubt = no_nodes(examined.label, image, case.label)
            if isinstance(doubt, CaseError):
                examined.problems.append(doubt)
            elif doubt:
                examined.notes.append(doubt)
    try:
        examined.background, notes = read_background(case, scan, examined.label)
    except CaseError as error:
        examined.problems.append(error)
    else:
        examined.notes += notes
    return examined


def _hash(volume: Volume) -> str:
    digest = hashlib.sha256(repr(volume.array.shape).encode())
    digest.update(np.ascontiguousarray(volume.array).data)
    return digest.hexdigest()


def joined_notes(examined: Iterable[str], cropped: Sequence[str]) -> list[str]:
    """All notes; what the crop says of missing lungs is not said twice.

    Args:
        examined: Of `Examination.notes`.
        cropped: Of `lnq.data.preparation.preprocessing.Prepared.notes`.
    """
    said = any(note.startswith(NO_LUNGS) for note in cropped)
    return [*(n for n in examined if not (said and n.startswith(NO_LUNGS))), *cropped]
