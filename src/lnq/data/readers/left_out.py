"""What lies under a folder and looks like a scan, but is of a kind that is not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lnq.data.readers.dicom_objects import class_of, is_dicom
from lnq.data.readers.names import suffix_of
from lnq.data.readers.walking import visible
from lnq.errors import CaseError

_CONVERT = "convert it to .nii.gz"
_ENDINGS = {
    ".img": f"an Analyze or NIfTI pair: {_CONVERT}",
    ".img.gz": f"an Analyze or NIfTI pair: {_CONVERT}",
    ".bz2": "compressed with bzip2: unpack it",
    ".xz": "compressed with xz: unpack it",
    ".zst": "compressed with zstd: unpack it",
    ".zip": "an archive: unpack it",
    ".7z": "an archive: unpack it",
    ".tar": "an archive: unpack it",
    ".tar.gz": "an archive: unpack it",
    ".tgz": "an archive: unpack it",
    ".nrrd.gz": "compressed once more: unpack it",
    ".mha.gz": "compressed once more: unpack it",
    ".mgz": f"FreeSurfer's format: {_CONVERT}",
    ".mgh": f"FreeSurfer's format: {_CONVERT}",
    ".mnc": f"MINC: {_CONVERT}",
    ".v3d": f"another format: {_CONVERT}",
}
# Storage classes of images that are no CT, by what their UIDs begin with.
_OTHER_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.4": "MR images",
    "1.2.840.10008.5.1.4.1.1.128": "PET images",
    "1.2.840.10008.5.1.4.1.1.130": "PET images",
    "1.2.840.10008.5.1.4.1.1.20": "images of nuclear medicine",
    "1.2.840.10008.5.1.4.1.1.1": "radiographs",
    "1.2.840.10008.5.1.4.1.1.6": "ultrasound images",
    "1.2.840.10008.5.1.4.1.1.7": "secondary captures",
}
_HEAD = (b"\x02\x00", b"\x08\x00")  # the groups with which a DICOM data set begins


def left_out(root: Path | None) -> list[str]:
    """Files and folders that look like scans of a kind that is not read, each with why.

    Args:
        root: A directory tree, or anything else, of which nothing is left out.
    """
    if root is None or not root.is_dir():
        return []
    entries: list[str] = []
    for folder, files in visible(root):
        kinds: Counter[str] = Counter()
        for file in files:
            if why := _by_name(file):
                entries.append(f"{file.relative_to(root)} ({why})")
            elif suffix_of(file) is None and (kind := _kind(file)):
                kinds[kind] += 1
        place = folder.relative_to(root)
        entries += [f"{place} ({count} files: {kind})" for kind, count in kinds.items()]
    return entries


def summary(root: Path | None, most: int = 5) -> str | None:
    """`left_out` in one line; None where nothing is."""
    entries: Sequence[str] = left_out(root)
    if not entries:
        return None
    more = f"; and {len(entries) - most} more" if len(entries) > most else ""
    return f"{len(entries)} left out: {'; '.join(entries[:most])}{more}"


def _by_name(path: Path) -> str | None:
    name = path.name.lower()
    return next((why for ending, why in _ENDINGS.items() if name.endswith(ending)), None)


def _kind(path: Path) -> str | None:
    """What a file without a known suffix is, if it is an image."""
    if not path.is_file():
        return None
    if is_dicom(path):
        try:
            uid = class_of(path)
        except CaseError:
            return None  # told where it is listed
        return next(
            (kind for start, kind in _OTHER_IMAGES.items() if f"{uid}.".startswith(f"{start}.")),
            None,
        )
    with path.open("rb") as handle:
        head = handle.read(8)
    # Group, element 0 to 0x18 (little endian), and a value representation or a short length.
    if (
        head[:2] in _HEAD
        and len(head) == 8
        and head[3] == 0
        and ((head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\0\0")
    ):
        return "DICOM without the mark behind a preamble: write it anew with one"
    return None
