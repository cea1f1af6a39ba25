"""What a DICOM file is, read without harm. No tag that names a patient is ever parsed."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import MediaStorageDirectoryStorage

from lnq.data.readers.dicom_structure import check_structure, opened
from lnq.data.readers.header import refusal

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_UID = re.compile(r"[0-9.]{1,64}")
_CODE = re.compile(r"[A-Z]{2,16}")
_MARKS = {"SOPClassUID": _UID, "SeriesInstanceUID": _UID, "Modality": _CODE}

# What pydicom raises of damaged files.
_DAMAGE = (
    pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, EOFError, KeyError,
    ValueError, TypeError, NotImplementedError, AttributeError, RecursionError, struct.error,
    zlib.error,
)  # fmt: skip


def is_dicom(path: Path) -> bool:
    """Whether the file carries the DICOM mark behind its 128-byte preamble."""
    with path.open("rb") as handle:
        handle.seek(128)
        return handle.read(4) == b"DICM"


def is_object(path: Path, data: Any) -> bool:
    """Whether a file is an object of a series; a DICOMDIR, a list of files, is none.

    Args:
        path: The file, for messages.
        data: Its tags, those among them that say what it is.

    Raises:
        CaseError: These are damaged: such a file must not pass for another kind and be left out.
    """
    if data.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return False
    for tag, form in _MARKS.items():
        value = str(data.get(tag) or "")
        if value and not form.fullmatch(value):
            raise refusal(path, f"damaged DICOM file: {tag} is malformed", "copy it again")
    if not all(data.get(tag) for tag in _MARKS):
        check_structure(path)  # cut off is not blank
    stated, stored = (str(d.get(tag) or "") for d, tag in _classes(data))
    if not (stated or stored):
        if not data.file_meta.get("TransferSyntaxUID"):
            raise refusal(path, "damaged DICOM file: it holds nothing known", "copy it again")
        raise refusal(
            path,
            "it does not say what it is: SOPClassUID is blank, as after some de-identification",
            "restore that tag, or remove the file",
        )
    if stated and stored and stated != stored:
        raise refusal(path, "damaged DICOM file: it gives two SOP classes", "copy it again")
    return True


def _classes(data: Any) -> tuple[tuple[Any, str], tuple[Any, str]]:
    return (data, "SOPClassUID"), (data.file_meta, "MediaStorageSOPClassUID")


def class_of_tags(data: Any) -> str:
    """The SOP class UID; where it was blanked, the one that the file's meta information holds."""
    return next((str(d[tag].value) for d, tag in _classes(data) if d.get(tag)), "")


def is_ct(path: Path, data: Any) -> bool:
    """Whether tags are a CT image's.

    Raises:
        CaseError: Its class is CT's and its modality another.
    """
    kind = class_of_tags(data)
    # Below the class of single slices stand the multi-frame ones, which read_slice refuses.
    is_image = kind == CT_IMAGE or kind.startswith(CT_IMAGE + ".")
    if is_image and data.get("Modality") and data.Modality != "CT":
        raise refusal(
            path, f"a CT image by its class, {data.Modality} by its modality", "copy it again"
        )
    return is_image


def class_of(path: Path) -> str:
    """The SOP class UID of a DICOM file, by which CT slices, segments and contours are told apart.

    Raises:
        CaseError: The file cannot be parsed.
    """
    with pydicom.config.disable_value_validation():
        return class_of_tags(parsed_tags(path, ["SOPClassUID"], pixels=False))


def parsed_tags(path: Path, tags: list[str], pixels: bool) -> Any:
    """The chosen tags of a DICOM file, and no others.

    Args:
        path: The file.
        tags: Keywords; a name that is not asked for cannot reach a message or a log.
        pixels: Whether the file is read up to its end, pixels included.

    Raises:
        CaseError: The file cannot be parsed.
    """
    try:
        with opened(path, whole=pixels) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of malformed tags, which they would quote
            data = pydicom.dcmread(file, specific_tags=tags, stop_before_pixels=not pixels)
            # Values are decoded when first looked at: here, where a malformed one is expected,
            # those inside of sequences too.
            for _ in (*data.file_meta, *data.iterall()):
                pass
        return data
    except OSError as error:
        if error.errno is not None:  # the disk's fault, not the file's
            raise
        raise refusal(path, "truncated DICOM file", "copy it again") from error
    except _DAMAGE as error:
        raise refusal(
            path, f"damaged DICOM file ({type(error).__name__})", "copy it again"
        ) from error


def sound_tags(path: Path, tags: list[str]) -> dict[str, Any]:
    """Tags for which no file is refused: malformed ones are left out.

    Args:
        path: The file.
        tags: Keywords.
    """
    values: dict[str, Any] = {}
    with (
        opened(path, whole=False) as file,
        warnings.catch_warnings(),
        pydicom.config.disable_value_validation(),
    ):
        warnings.simplefilter("ignore")
        with suppress(*_DAMAGE):
            data = pydicom.dcmread(file, specific_tags=tags, stop_before_pixels=True)
            for tag in tags:
                with suppress(*_DAMAGE):
                    values[tag] = data.get(tag)
    return values


@contextmanager
def damage_told(path: Path, what: str) -> Iterator[None]:
    """Refuses a file of which a tag that is needed is missing or of another kind than it should be.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        CaseError: Names the tag where it is missing; its value, which may be a name, is not told.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        missing = getattr(error, "name", None)
        why = f"the tag {missing} is missing" if missing else "a tag is missing or malformed"
        raise refusal(path, f"damaged {what}: {why}", "copy or export the file again") from error
