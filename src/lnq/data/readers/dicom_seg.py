"""DICOM-SEG: frames of one segment each, put where their positions say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lnq.data.readers.dicom_frames import check_frames
from lnq.data.readers.dicom_objects import damage_told, parsed_tags
from lnq.data.readers.header import refusal
from lnq.data.readers.identity import Identity, Scan, check_belongs, identity_of
from lnq.data.readers.plausibility import LabelKind
from lnq.data.readers.seg_frames import SegFrame, frame_grid, frames_of, voxels_of
from lnq.data.readers.segments import Segment, chosen_segments, painted, unique_names
from lnq.volume import Array, Volume

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_TAGS = [
    "SegmentationType", "MaximumFractionalValue", "SegmentSequence", "FrameOfReferenceUID",
    "ReferencedSeriesSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation",
    "PixelData",
]  # fmt: skip
_COPY_AGAIN = "copy or export the file again"


def read_dicom_seg(
    path: Path, kind: LabelKind, names: str | None, scan: Scan | None
) -> tuple[Volume, list[str]]:
    """Reads the segments that are lymph nodes.

    Args:
        path: The file.
        kind: `binary` merges segments, `instances` numbers them. A fractional segment's voxel
            belongs to it from one half on.
        names: As for `chosen_segments`.
        scan: Onto whose voxels the frames are put, in any orientation that coincides with them.
            None = a grid of the frames' own; slices without a frame are empty.

    Raises:
        CaseError: Truncated, contradicting itself, of another series or frame of reference, not on
            the scan's voxels or beside it, or unclear which segments are meant.
    """
    identity = identity_of(scan)
    with pydicom.config.disable_value_validation():
        data = parsed_tags(path, _TAGS, pixels=True)
        with damage_told(path, "DICOM-SEG"):
            return _read(path, data, kind, names, scan, identity), []


def _read(
    path: Path, data: Any, kind: LabelKind, names: str | None, scan: Scan | None,
    identity: Identity | None,
) -> Volume:  # fmt: skip
    series = {str(one.SeriesInstanceUID) for one in data.get("ReferencedSeriesSequence") or ()}
    check_belongs(path, identity, series, {str(data.get("FrameOfReferenceUID") or "")})
    frames = frames_of(path, data, identity)
    segments = [
        Segment(int(one.SegmentNumber), str(one.get("SegmentLabel") or ""), _type(one))
        for one in data.SegmentSequence
        if int(one.SegmentNumber) > 0  # a label map may describe its background
    ]
    chosen = chosen_segments(path, segments, names, bystanders=False)
    grid = frame_grid(path, frames) if scan is None else scan.grid
    parts: dict[int, list[Array]] = {one.number: [] for one in segments}
    for frame, pixels in zip(frames, _pixels(path, data), strict=True):
        for number, mask in _masks(path, data, frame, pixels, list(parts)):
            parts[number].append(voxels_of(path, frame, mask, grid))
    names_of = unique_names(segments)
    voxels = {}
    for one in chosen:
        flat = np.concatenate([np.zeros(0, np.int64), *parts[one.number]])
        if len(np.unique(flat)) < len(flat):
            raise refusal(
                path, f"two frames of segment {names_of[one.number]} lie in the same place",
                "export the segmentation again",
            )  # fmt: skip
        voxels[names_of[one.number]] = flat
    return painted(path, voxels, grid, kind)


def _type(segment: Any) -> str:
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    return " ".join(str(code.get("CodeMeaning") or "") for code in codes)


def _masks(
    path: Path, data: Any, frame: SegFrame, pixels: Array, numbers: Sequence[int]
) -> list[tuple[int, Array]]:
    """A frame's masks by segment."""
    shape = str(data.SegmentationType)
    if shape == "LABELMAP":
        unknown = set(np.unique(pixels).tolist()) - {0, *numbers}
        if unknown:
            raise refusal(path, f"the value {min(unknown)} is no segment's", _COPY_AGAIN)
        return [(number, pixels == number) for number in numbers if np.any(pixels == number)]
    if frame.segment is None or frame.segment not in numbers:
        raise refusal(path, f"a frame of segment {frame.segment}, which is not listed", _COPY_AGAIN)
    if shape not in ("BINARY", "FRACTIONAL"):
        raise refusal(path, f"a segmentation of type {shape}", "export it as binary")
    highest = 1 if shape == "BINARY" else int(data.MaximumFractionalValue)
    if pixels.max(initial=0) > highest:
        raise refusal(path, f"values up to {pixels.max()}, its highest is {highest}", _COPY_AGAIN)
    return [(frame.segment, 2 * pixels.astype(np.int64) >= highest)]


def _pixels(path: Path, data: Any) -> Array:
    """Values `frame y x`."""
    count = int(data.NumberOfFrames)
    if int(data.get("SamplesPerPixel") or 1) != 1:
        raise refusal(path, "a colour image, no segmentation", "export it as binary")
    if not data.get("PixelData"):
        raise refusal(path, "truncated DICOM-SEG: it has no pixels", _COPY_AGAIN)
    check_frames(path, data, count)
    try:
        array = data.pixel_array
    except (NotImplementedError, RuntimeError) as error:
        raise refusal(
            path, "its compression cannot be read here", "export it uncompressed"
        ) from error
    return array.reshape(count, int(data.Rows), int(data.Columns))
