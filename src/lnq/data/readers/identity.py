"""Which scan an annotation belongs to: DICOM objects name it by its UIDs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from lnq.data.case import ScanPath
from lnq.data.readers.dicom_folder import series_files
from lnq.data.readers.dicom_objects import parsed_tags
from lnq.data.readers.header import refusal
from lnq.data.readers.names import suffix_of
from lnq.volume import Array, Grid

_TAGS = ["SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "ImagePositionPatient"]
# Of what two DICOM objects say of one place: they write few digits.
POSITION_TOLERANCE_MM = 0.05


@dataclass(frozen=True)
class Scan:
    """The scan that an annotation is read for.

    Attributes:
        path: Where it lies.
        grid: Its voxels.
    """

    path: ScanPath
    grid: Grid


@dataclass(frozen=True)
class Identity:
    """What a DICOM series is called.

    Attributes:
        series: Series instance UIDs; more than one where de-identification gave one to each slice,
            none where it blanked them.
        frame_of_reference: UID of its coordinate system; empty where the series states none.
        positions: By SOP instance UID, the LPS position of each slice's first pixel, mm; empty
            where these do not tell the slices apart.
    """

    series: frozenset[str]
    frame_of_reference: str
    positions: dict[str, Array]


def identity_of(scan: Scan | None) -> Identity | None:
    """The UIDs of a DICOM series; None for a scan of another format, which has none.

    Raises:
        CaseError: A slice cannot be parsed.
    """
    if scan is None:
        return None
    if isinstance(scan.path, Path) and scan.path.is_file() and suffix_of(scan.path):
        return None
    with pydicom.config.disable_value_validation():
        headers = [parsed_tags(file, _TAGS, pixels=False) for file in series_files(scan.path)]
    positions = {
        str(one.get("SOPInstanceUID") or ""): np.array([float(v) for v in one.ImagePositionPatient])
        for one in headers
    }
    return Identity(
        series=frozenset({str(one.get("SeriesInstanceUID") or "") for one in headers} - {""}),
        frame_of_reference=str(headers[0].get("FrameOfReferenceUID") or ""),
        positions=positions if len(positions) == len(headers) and "" not in positions else {},
    )


def check_belongs(
    path: Path,
    identity: Identity | None,
    series: Collection[str],
    frames_of_reference: Collection[str],
) -> None:
    """Refuses an annotation that says it was made on another scan.

    Args:
        path: The annotation.
        identity: The scan's; None = not DICOM, nothing to compare.
        series: Series that the annotation refers to; empty where it does not say.
        frames_of_reference: The coordinate systems of its contents; the same.

    Raises:
        CaseError: The scan is not among them.
    """
    if identity is None:
        return
    if series and identity.series and identity.series.isdisjoint(series):
        raise refusal(
            path,
            f"it annotates another series: {', '.join(sorted(series))}, not the scan's "
            f"{min(identity.series)}",
            "give the label that belongs to this scan",
        )
    mine = identity.frame_of_reference
    foreign = sorted(uid for uid in frames_of_reference if uid and mine and uid != mine)
    if foreign:
        raise refusal(
            path,
            f"its frame of reference {foreign[0]} is not the scan's {mine}",
            "register it to the scan first, or give the label that belongs to this scan",
        )
