"""Masks as DICOM-SEG, which viewers and archives put beside the scan they belong to."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.sr.codedict import codes

import lnq
from lnq.data.case import ScanPath
from lnq.data.readers import Scan, read_label
from lnq.errors import CaseError, RunError, UsageError
from lnq.files import atomic_path
from lnq.inference.dicom_seg_source import source_images
from lnq.volume import Volume

_LABEL = "Lymph node"
_DESCRIPTION = "Lymph nodes, segmented by lnq"
# Behind a scanner's own series, by which viewers sort.
_SERIES_NUMBER = 900
_COLOUR_RGB = (0.27, 0.69, 0.38)


def check_writable() -> None:
    """Refuses to begin where the library that writes DICOM-SEG is missing.

    Raises:
        UsageError: As said.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise UsageError(
            "output_format=dicom-seg needs highdicom",
            remedy="pip install '.[dicom]' in the repository",
        )


def write_dicom_seg(mask: Volume, scan: ScanPath, path: Path) -> None:
    """Writes a mask as one segment that refers to every slice of its scan, or nothing.

    Patient's name and id, study and frame of reference are the scan's; birth date, sex, physician
    and accession number are left empty. It is read again and compared before it takes its name.

    Args:
        mask: 0 and 1 on the scan's voxels.
        scan: Folder of the scan's DICOM slices.
        path: Where to.

    Raises:
        RunError: The file cannot be written, or reads back otherwise.
        CaseError: The scan's headers lack what a segmentation must repeat.
    """
    segmentation = _segmentation(mask, scan)
    try:
        with atomic_path(path) as temporary:
            with pydicom.config.disable_value_validation():
                segmentation.save_as(temporary, enforce_file_format=True)
            back = read_label(temporary, scan=Scan(scan, mask.grid))
            if not np.array_equal(back.array, mask.array):
                raise RunError("it reads back differently", why="other voxels")
    except (OSError, CaseError, RunError) as error:
        raise RunError(
            "cannot write a segmentation", where=path, why=str(error).strip().splitlines()[-1],
            remedy="free space or choose another output folder",
        ) from error  # fmt: skip


def _segmentation(mask: Volume, scan: ScanPath) -> Any:
    import highdicom as hd  # here: an extra, and a second to import

    # A name that breaks DICOM's rules is repeated as it is, without a warning that would quote it.
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        slices = source_images(scan, mask.grid.spacing_mm[0])
        try:
            return hd.seg.Segmentation(
                source_images=slices,
                pixel_array=mask.array.astype(np.uint8),
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_description(hd)],
                series_instance_uid=hd.UID(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer="lnq",
                manufacturer_model_name="lnq",
                software_versions=lnq.__version__,
                device_serial_number=lnq.__version__,
                content_label="LYMPH_NODES",
                content_description=_DESCRIPTION,
                series_description=_DESCRIPTION,
                # A file without frames is none; an empty mask is written in full.
                omit_empty_frames=bool(mask.array.any()),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            missing = getattr(error, "name", None)
            raise CaseError(
                "no DICOM-SEG can be made for this scan", where=scan,
                why=f"the DICOM tag {missing} is missing or malformed" if missing
                else f"its headers cannot be repeated ({type(error).__name__})",
                remedy="use output_format=nrrd",
            ) from error  # fmt: skip


def _description(hd: Any) -> Any:
    """One segment for all nodes: the network says where tissue is, pieces can be counted anew."""
    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=_LABEL,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.LymphNode,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="lnq", version=lnq.__version__, family=codes.DCM.ArtificialIntelligence
        ),
        tracking_uid=hd.UID(),
        tracking_id=_LABEL,
        display_color=hd.color.CIELabColor.from_rgb(*(round(255 * v) for v in _COLOUR_RGB)),
    )
