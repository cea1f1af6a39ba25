"""What the pixels of DICOM slices mean, by pydicom, against what a native reader makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pydicom
from pydicom.pixels import get_decoder

from lnq.data.readers.agreement import compare
from lnq.data.readers.dicom_objects import parsed_tags
from lnq.data.readers.dicom_slices import Slice
from lnq.data.readers.header import refusal
from lnq.volume import Array

_TAGS = [
    "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
]  # fmt: skip


def check_slices(slices: Sequence[Slice], array: Array) -> None:
    """Refuses values that are not the stored ones, rescaled slice by slice; all are compared.

    Args:
        slices: In the array's order.
        array: HU as read, `z y x`.

    Raises:
        CaseError: A slice's pixels cannot be decoded, or mean something else. Packed ones for which
            pydicom has no decoder here are believed.
    """
    with pydicom.config.disable_value_validation():
        for one, read in zip(slices, array, strict=True):
            stored = _stored(one)
            if stored is not None:
                compare(one.path, stored, one.rescale, read)


def check_decodable(slices: Sequence[Slice]) -> None:
    """Refuses slices whose pixels cannot be decoded.

    Args:
        slices: Any.

    Raises:
        CaseError: Names the first of them.
    """
    with pydicom.config.disable_value_validation():
        for one in slices:
            _stored(one)


def _stored(one: Slice) -> Array | None:
    data = parsed_tags(one.path, _TAGS, pixels=True)
    syntax = data.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and not get_decoder(syntax).is_available:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of padding behind the pixels, which is noted
            array: Array = data.pixel_array
    # What decoders raise of damaged data is theirs; RuntimeError is pydicom's, where all failed.
    except (RuntimeError, ValueError, AttributeError, TypeError, IndexError, KeyError) as error:
        raise refusal(
            one.path, "truncated or damaged slice: its pixels cannot be decoded",
            "copy or export the series again",
        ) from error  # fmt: skip
    allocated, stored, high, _ = one.bits
    # Bits above the stored ones are no part of the value, but its sign reaches into them.
    value: Array = np.right_shift(np.left_shift(array, allocated - 1 - high), allocated - stored)
    return value
