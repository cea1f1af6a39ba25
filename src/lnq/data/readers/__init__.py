"""Reading scans and annotations as users have them: NRRD, NIfTI, MetaImage, DICOM.

Every file passes one strict check in pure Python (header against payload, checksums, geometry)
before the one native reader opens it: the danger is not the crash but the silent wrong result.
"""

from lnq.data.readers.dicom import ordered_files
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.finding import every_scan, find_labels, find_scans
from lnq.data.readers.identity import Scan
from lnq.data.readers.names import (
    SUFFIXES,
    is_mask_name,
    label_name,
    path_of,
    require_printable,
    scan_ids,
    scan_name,
    suffix_of,
)
from lnq.data.readers.plausibility import LabelKind
from lnq.data.readers.reading import (
    content_hash,
    read_image,
    read_image_with_notes,
    read_label,
    read_label_with_notes,
    read_mask_with_notes,
    read_probability,
)
from lnq.data.readers.segments import checked_pattern
from lnq.data.readers.unchanged import require_unchanged, unchanged

__all__ = [
    "SUFFIXES",
    "LabelKind",
    "Scan",
    "checked_pattern",
    "content_hash",
    "every_scan",
    "find_labels",
    "find_scans",
    "is_dicom",
    "is_mask_name",
    "label_name",
    "ordered_files",
    "path_of",
    "read_image",
    "read_image_with_notes",
    "read_label",
    "read_label_with_notes",
    "read_mask_with_notes",
    "read_probability",
    "require_printable",
    "require_unchanged",
    "scan_ids",
    "scan_name",
    "suffix_of",
    "unchanged",
]
