"""DICOM slices as scanners, archives and de-identification leave them: read right, or refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from support.dicom_phantom import SIZE, change, write_ct, write_rtstruct, write_seg

from lnq.data.readers import (
    Scan,
    dicom_structure,
    every_scan,
    find_scans,
    header,
    read_image,
    read_image_with_notes,
    read_label,
)
from lnq.data.readers.dicom_frames import coded_size
from lnq.errors import CaseError

HU = np.random.default_rng(0).integers(-1000, 1000, SIZE).astype(np.int16)
ONE = "1-003.dcm"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_ct(tmp_path / "ct", array=HU)


def change_all(folder: Path, edit: Callable[[Any], object]) -> None:
    for path in folder.iterdir():
        change(path, edit)


def stored(dtype: str, intercept: int, bits: int, noise: int = 0) -> Callable[[Any], None]:
    """Rewrites a slice's pixels with fewer bits stored, and rubbish in the others."""

    def edit(data: Any) -> None:
        values = data.pixel_array.astype(int) - intercept
        mask = (1 << bits) - 1
        data.PixelData = ((values & mask) | noise).astype("<u2").tobytes()
        data.PixelRepresentation, data.BitsStored, data.HighBit = int(dtype == "i"), bits, bits - 1
        data.RescaleIntercept = intercept

    return edit


def transcoded(syntax: str) -> Callable[[Any], None]:
    def edit(data: Any) -> None:
        if syntax in (RLELossless, JPEGLSLossless):
            data.compress(syntax)
        elif syntax == ExplicitVRBigEndian:
            data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        data.file_meta.TransferSyntaxUID = syntax

    return edit


@pytest.mark.parametrize(
    "edit",
    [stored("i", 0, 16), stored("u", -1024, 16), stored("u", -1024, 12), stored("i", 0, 12),
     stored("u", -32768, 16), stored("i", -1024, 13)],
)  # fmt: skip
def test_values_stored_in_any_way(folder: Path, edit: Callable[[Any], None]) -> None:
    change_all(folder, edit)
    assert np.array_equal(read_image(folder).array, HU)


@pytest.mark.parametrize("dtype", ["u", "i"])
def test_bits_that_are_no_part_of_the_value(folder: Path, dtype: str) -> None:
    """As overlays of old scanners; readers that count them give other values."""
    change_all(folder, stored(dtype, -1024, 12, noise=0x4000))
    assert np.array_equal(read_image(folder).array, HU)


@pytest.mark.parametrize(
    "syntax",
    [RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian],
)
def test_other_transfer_syntaxes(folder: Path, syntax: str) -> None:
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        transcoded(syntax)(data)
        data.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    assert np.array_equal(read_image(folder).array, HU)


@pytest.mark.parametrize("wrong", [lambda image: image - 1024, lambda image: -image])
def test_a_reader_that_gives_other_values_is_not_believed(
    folder: Path, wrong: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = sitk.ImageSeriesReader.Execute
    monkeypatch.setattr(sitk.ImageSeriesReader, "Execute", lambda self: wrong(read(self)))
    with pytest.raises(CaseError, match="values can be read in two ways"):
        read_image(folder)


@pytest.mark.parametrize(
    ("tags", "why"),
    [({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
     ({"RescaleType": "Z_EFF"}, "values are Z_EFF"), ({"RescaleType": "MGML"}, "values are MGML"),
     ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localizer"),
     ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_VALUE_BASED"]}, "map of a material"),
     ({"BitsStored": 12, "HighBit": 3}, "12 bits up to 3 of 16"),
     ({"Modality": "PT"}, "CT image by its class, PT"),
     ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128"}, "two SOP classes")],
)  # fmt: skip
def test_what_is_no_hounsfield_unit(folder: Path, tags: dict[str, Any], why: str) -> None:
    change(folder / ONE, lambda data: [setattr(data, *tag) for tag in tags.items()])
    with pytest.raises(CaseError, match=why) as error:
        read_image(folder)
    assert ONE in str(error.value)


@pytest.mark.parametrize(
    ("tags", "note"),
    [({"RescaleType": "US"}, "RescaleType is US, unspecified"),
     ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, r"a derived image (DERIVED\\SECONDARY"),
     ({"RescaleType": "HU", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}, None)],
)  # fmt: skip
def test_what_may_be_none_is_noted_once(
    folder: Path, tags: dict[str, Any], note: str | None
) -> None:
    change_all(folder, lambda data: [setattr(data, *tag) for tag in tags.items()])
    volume, notes = read_image_with_notes(folder)
    assert np.array_equal(volume.array, HU)
    assert len(notes) == (note is not None)
    assert note is None or notes[0].startswith(note.replace(r"\\", "\\"))


def test_slices_of_other_scale_are_noted(folder: Path) -> None:
    change(folder / ONE, lambda data: setattr(data, "RescaleSlope", 2))
    volume, notes = read_image_with_notes(folder)
    assert np.array_equal(volume.array[3], 2.0 * HU[3])
    assert "different rescale slopes" in notes[0]


def test_padding_behind_the_pixels(folder: Path) -> None:
    def pad(data: Any) -> None:
        data.PixelData += bytes(6)

    change_all(folder, pad)
    volume, notes = read_image_with_notes(folder)
    assert np.array_equal(volume.array, HU)
    assert notes == ["6 bytes of padding behind the pixels, which are passed over"]
    change(folder / ONE, lambda data: setattr(data, "PixelData", data.PixelData * 2))
    with pytest.raises(CaseError, match="bytes of pixels"):
        read_image(folder)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.97])
def test_cut_off_and_packed(folder: Path, syntax: str, part: float) -> None:
    change_all(folder, transcoded(syntax))
    path = folder / ONE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CaseError, match=r"truncated|damaged"):
        read_image(folder)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_packed_pixels_that_end_early(folder: Path, syntax: str) -> None:
    """Sound elements around a frame of which the end was lost."""

    def shorten(data: Any) -> None:
        data.compress(syntax)
        frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
        kept = frame[: len(frame) // 2 // 2 * 2]
        data.PixelData = pydicom.encaps.encapsulate([kept])
        data["PixelData"].is_undefined_length = True

    change(folder / ONE, shorten)
    with pytest.raises(CaseError, match="truncated or damaged slice"):
        read_image(folder)


def test_a_code_stream_larger_than_its_slice(folder: Path) -> None:
    """The decoder would allocate by the code stream's own size."""
    path = change(folder / ONE, transcoded(JPEGLSLossless))
    content = bytearray(path.read_bytes())
    at = content.index(b"\xff\xf7") + 5
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(CaseError, match="truncated or damaged slice"):
        read_image(folder)


def test_the_size_of_code_streams() -> None:
    jpeg_2000 = b"\xff\x4f\xff\x51" + struct.pack(">HH4I", 41, 0, 70, 50, 6, 10)
    assert coded_size(jpeg_2000) == (40, 64)
    table = b"\xff\xc4\x00\x04ab"
    jpeg = b"\xff\xd8" + table + b"\xff\xff\xc3\x00\x0b\x10" + struct.pack(">HH", 40, 64)
    assert coded_size(jpeg) == (40, 64)
    for nothing in (b"", jpeg[:6], jpeg_2000[:12], b"\xff\xd8", b"\0" * 64):
        assert coded_size(nothing) is None


def element(length: int, tag: tuple[int, int] = (0x7FE1, 0x10), kind: bytes = b"OB") -> bytes:
    return struct.pack("<HH2sHI", *tag, kind, 0, length)


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


@pytest.mark.parametrize(
    "tail",
    [element(0xF0000000) + bytes(35), element(0xF0000000, (0xFFFC, 0xFFFC)) + bytes(35),
     element(0xFFFFFFFF, kind=b"SQ") + bytes(35), element(40, kind=b"SQ") + bytes(35),
     element(44, kind=b"SQ") + item(element(0xF0000000, (0x9, 0x10)) + bytes(24)),
     element(0xFFFFFFFF) + bytes(16), b"rubbish",
     element(0xFFFFFFFF, kind=b"SQ") + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) * 40],
)  # fmt: skip
def test_lengths_beyond_the_file(folder: Path, tail: bytes) -> None:
    path = folder / ONE
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(CaseError, match="truncated or damaged DICOM file"):
        read_image(folder)


@pytest.mark.parametrize(
    "tail",
    [b"", bytes(3), bytes(512), element(4) + b"abcd", element(0xFFFFFFFF, kind=b"SQ")
     + item(element(4) + b"abcd") + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0),
     element(0xFFFFFFFF, kind=b"UN") + item(struct.pack("<HHI", 0x9, 0x10, 4) + b"abcd")
     + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)],
)  # fmt: skip
def test_sound_elements_behind_the_pixels(folder: Path, tail: bytes) -> None:
    path = folder / ONE
    path.write_bytes(path.read_bytes() + tail)
    assert np.array_equal(read_image(folder).array, HU)


def test_a_bomb_of_zeros(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_structure, "_LARGEST_INFLATED", 1 << 20)
    path = change(folder / ONE, transcoded(DeflatedExplicitVRLittleEndian))
    content = path.read_bytes()
    at, _ = dicom_structure._syntax(content)
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = zlib.decompress(content[at:], -zlib.MAX_WBITS) + element(1 << 21) + bytes(1 << 21)
    path.write_bytes(content[:at] + pack.compress(data) + pack.flush())
    for read in (read_image, lambda place: find_scans(place) and read_image(place)):
        with pytest.raises(CaseError, match="packed bytes hold more than"):
            read(folder)


def test_a_few_packed_bytes_of_a_large_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(data: Any) -> None:
        data.Rows = data.Columns = 1000
        data.PixelData = bytes(2_000_000)
        data.compress(RLELossless)

    change_all(folder, empty)
    monkeypatch.setattr(header, "LARGEST_UNPACKED", 1 << 20)
    monkeypatch.setattr(header, "LARGEST_RATIO_OF_LARGE", 20)
    with pytest.raises(CaseError, match="hardly any content"):
        read_image(folder)


UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Modality")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "note"),
    [(lambda data: [setattr(data, name, "") for name in UIDS], "UIDs are blank"),
     (lambda data: [delattr(data, name) for name in UIDS], "UIDs are blank"),
     (lambda data: setattr(data, "SOPInstanceUID", "1.2.3"), "slices share a UID"),
     (lambda data: setattr(data, "SeriesInstanceUID", generate_uid()), "a series UID of its own")],
)  # fmt: skip
def test_what_deidentification_did_to_uids(
    folder: Path, edit: Callable[[Any], object], note: str
) -> None:
    """Positions tell that it is one scan, and annotations are placed by theirs."""
    mask = np.zeros(SIZE, bool)
    mask[2:4, 3:6, 2:7] = True
    seg = write_seg(folder.parent / "seg.dcm", folder, {"LN": mask})
    square = np.array([[x, y, -35.0] for x, y in ((-9, 6), (-6, 6), (-6, 9), (-9, 9))])
    structures = write_rtstruct(folder.parent / "rt.dcm", "case_0001", {"LN": [square]})
    change_all(folder, edit)
    volume, notes = read_image_with_notes(folder)
    assert np.array_equal(volume.array, HU)
    assert [note in one for one in notes] == [True]
    assert every_scan(folder) == find_scans(folder) == [folder]
    assert find_scans(folder / ONE) == [folder]
    scan = Scan(folder, volume.grid)
    assert read_label(structures, scan=scan).array.any()
    if note != "a series UID of its own":
        assert np.array_equal(read_label(seg, scan=scan).array, mask)


def test_series_of_single_slices_that_are_no_scan(folder: Path) -> None:
    """Positions do not speak for it: localizers, or one slice of several times."""
    change_all(folder, lambda data: setattr(data, "SeriesInstanceUID", generate_uid()))
    change(folder / ONE, lambda data: setattr(data, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    assert len(every_scan(folder)) == SIZE[0]


def test_a_file_that_does_not_say_what_it_is(folder: Path) -> None:
    path = folder / ONE
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ""
    data.save_as(path)
    with pytest.raises(CaseError, match="does not say what it is: SOPClassUID is blank"):
        read_image(folder)


def place(folder: Path, *heights: float) -> None:
    for path, height in zip(sorted(folder.iterdir()), heights, strict=True):
        change(path, lambda data, z=height: setattr(data, "ImagePositionPatient", [0, 0, z]))


@pytest.mark.parametrize(
    ("heights", "why"),
    [((0, 2, 4, 6, 8, 14), r"1-005.dcm and 1-006.dcm lie 6 mm apart, the other 4 pairs 2 mm"),
     ((0, 0, 50, 50, 100, 100), r"1-002.dcm lie at the same position, and 2 more pairs do"),
     ((0, 2, 4, 4, 6, 8), r"1-003.dcm and 1-004.dcm lie at the same position"),
     ((0, 1, 3, 6, 10, 15), r"lie 5 mm apart and 1 more|and \d more, the other 1 pairs")],
)  # fmt: skip
def test_the_slices_that_are_out_of_step_are_named(
    folder: Path, heights: tuple[float, ...], why: str
) -> None:
    place(folder, *heights)
    with pytest.raises(CaseError, match=why):
        read_image(folder)
