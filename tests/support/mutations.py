"""Files of every format, damaged at random, and what the readers make of them."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless
from scipy import ndimage

from lnq.data.datasets.nnunet import NnunetLayout
from lnq.data.datasets.pairs import PairsLayout
from lnq.data.readers import Scan, read_image_with_notes, read_label_with_notes
from lnq.errors import LnqError
from lnq.evaluation import rank_teams, read_published
from lnq.volume import Array, Grid, Volume, to_sitk
from support.dicom_phantom import write_ct, write_rtstruct, write_seg
from support.folders import touch

GRID = Grid((10, 32, 36), (2.5, 0.9, 0.8), (-10.0, 5.0, -40.0))
HEAD = 1500
"""Half of the mutations lie among the first bytes, where most headers are."""
TABLE = (
    "id,image,label,supervision,split,group\n"
    + "".join(f"P{n},P{n}.nrrd,P{n}_ln.nrrd,partial,train,P{n}\n" for n in range(3))
    + "T1,T1.nrrd,T1_ln.nrrd,full,test,T1\n"
)


def scan(seed: int = 0) -> Array:
    """Something smooth with noise, air and bone, HU z y x."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(GRID.size), 3)
    hu = np.where(smooth < 0, -850, 40) + 900 * (smooth > 0.06) + rng.normal(0, 12, GRID.size)
    return hu.astype(np.int16)


def ball() -> Array:
    """A mask z y x."""
    z, y, x = np.indices(GRID.size)
    return ((z - 5) / 3) ** 2 + ((y - 16) / 8) ** 2 + ((x - 15) / 8) ** 2 < 1


@dataclass(frozen=True)
class Subject:
    """A format.

    Attributes:
        make: Writes sound files into a folder and names the one to damage.
        read: Gives what was read, as a list of arrays and numbers, and notes.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], tuple[list[Any], list[str]]]


def _volume(suffix: str, compress: bool, folder: Path) -> Path:
    path = folder / f"a{suffix}"
    sitk.WriteImage(to_sitk(Volume(scan(), GRID)), str(path), useCompression=compress)
    return path


def _series(syntax: str | None, folder: Path) -> Path:
    write_ct(folder / "ct", array=scan(), spacing=GRID.spacing_mm)
    for path in folder.glob("ct/*"):
        data = pydicom.dcmread(path)
        if syntax in (RLELossless, JPEGLSLossless):
            data.compress(syntax)
        elif syntax is not None:
            data.file_meta.TransferSyntaxUID = syntax
        data.save_as(path)
    return folder / "ct" / "1-005.dcm"


def _seg(folder: Path) -> Path:
    _series(None, folder)
    return write_seg(
        folder / "seg.dcm", folder / "ct", {"LN 1": ball(), "LN 2": ~ball() & (scan() > 500)}
    )


def _rtstruct(folder: Path) -> Path:
    _series(None, folder)
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    contours = [
        np.stack([4 + 6 * np.cos(angle), 18 + 6 * np.sin(angle), np.full(20, -40 + 2.5 * z)], 1)
        for z in range(2, 7)
    ]
    return write_rtstruct(folder / "rt.dcm", "case_0001", {"LN": contours, "Lung": contours})


def _cases(folder: Path) -> Path:
    for name in ("P0", "P1", "P2", "T1"):
        (folder / f"{name}.nrrd").touch()
        (folder / f"{name}_ln.nrrd").touch()
    path = folder / "cases.csv"
    path.write_text(TABLE)
    return path


def _folds(folder: Path) -> Path:
    ids = [f"lnq_{n:04d}" for n in range(10)]
    for case_id in ids:
        touch(folder, f"imagesTr/{case_id}_0000.nrrd")
        touch(folder, f"labelsTr/{case_id}.nrrd")
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "node": 1},
               "numTraining": len(ids), "file_ending": ".nrrd"}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))
    path = folder / "splits_final.json"
    folds = [{"train": ids[:n] + ids[n + 2 :], "val": ids[n : n + 2]} for n in range(0, 10, 2)]
    path.write_text(json.dumps(folds, indent=4))
    return path


def _published(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    path = folder / "published.csv"
    rows = [f"{case:04d},{rng.random():.6f},{9 * rng.random():.5f},{team}\n"
            for case in range(1, 9) for team in ("alpha", "b.c", "1810929")]  # fmt: skip
    path.write_text("Case,Dice,ASSD,Team\n" + "".join(rows))
    return path


def _read_folds(path: Path) -> tuple[list[Any], list[str]]:
    return [[repr(case) for case in NnunetLayout(path.parent).cases()]], []


def _read_published(path: Path) -> tuple[list[Any], list[str]]:
    return [rank_teams(read_published(path)).astype(str).to_numpy()], []


def _read_scan(path: Path) -> tuple[list[Any], list[str]]:
    volume, notes = read_image_with_notes(path.parent if path.suffix == ".dcm" else path)
    return [volume.array, *_placed(volume.grid)], notes


def _read_label(path: Path) -> tuple[list[Any], list[str]]:
    scan_there = Scan(path.parent / "ct", GRID)
    volume, notes = read_label_with_notes(path, "instances", scan_there)
    return [volume.array, *_placed(volume.grid)], notes


def _placed(grid: Grid) -> list[Any]:
    return [np.array(grid.spacing_mm), np.array(grid.origin_mm), np.array(grid.direction)]


def _read_cases(path: Path) -> tuple[list[Any], list[str]]:
    return [[repr(case) for case in PairsLayout(path.parent, path).cases()]], []


SUBJECTS = {
    **{
        f"{suffix[1:]}{' packed' if compress and suffix != '.nii.gz' else ''}": Subject(
            functools.partial(_volume, suffix, compress), _read_scan
        )
        for suffix, compress in ((".nii", False), (".nii.gz", True), (".nrrd", False),
                                 (".nrrd", True), (".mha", False), (".mha", True), (".mhd", False))
    },
    **{
        f"dicom{name}": Subject(functools.partial(_series, syntax), _read_scan)
        for name, syntax in (("", None), (" rle", RLELossless), (" jpeg-ls", JPEGLSLossless),
                             (" deflated", DeflatedExplicitVRLittleEndian))
    },
    "dicom-seg": Subject(_seg, _read_label),
    "rtstruct": Subject(_rtstruct, _read_label),
    "cases.csv": Subject(_cases, _read_cases),
    "splits_final.json": Subject(_folds, _read_folds),
    "published.csv": Subject(_published, _read_published),
}  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one thing changed."""
    length = len(data)
    end = length if rng.random() < 0.5 else min(HEAD, length)
    at = int(rng.integers(end))
    size = int(rng.integers(1, min(64, length - at) + 1))
    match int(rng.integers(8)):
        case 0:  # a bit
            return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
        case 1:  # a byte
            return data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
        case 2:  # a block of noise
            return data[:at] + rng.bytes(size) + data[at + size :]
        case 3:  # a block of zeros
            return data[:at] + bytes(size) + data[at + size :]
        case 4:  # a block lost
            return data[:at] + data[at + size :]
        case 5:  # a block twice
            return data[: at + size] + data[at:]
        case 6:  # cut off
            return data[:at]
        case _:  # a digit
            digits = [n for n in range(min(length, HEAD)) if 48 <= data[n] < 58] or [at]
            at = digits[int(rng.integers(len(digits)))]
            return data[:at] + bytes([48 + int(rng.integers(10))]) + data[at + 1 :]


def outcome(subject: Subject, path: Path, expected: list[Any], usual: list[str]) -> tuple[str, str]:
    """What reading a damaged file comes to, and its words.

    Args:
        subject: The format.
        path: The damaged file.
        expected: What the sound file gives.
        usual: Its notes.
    """
    try:
        found, notes = subject.read(path)
    except LnqError as error:
        return "refused", str(error)
    except Exception:  # noqa: BLE001 - every other exception is what is looked for
        return "traceback", traceback.format_exc()
    if all(map(np.array_equal, found, expected)):
        return "same", ""
    news = [note for note in notes if note not in usual]
    return ("noted" if news else "different"), "; ".join(news)


def mutations(
    name: str, folder: Path, count: int, seed: int
) -> Iterator[tuple[int, Callable[[], tuple[str, str]]]]:
    """Damages a format's file again and again; each function reads what lies there now."""
    subject = SUBJECTS[name]
    path = subject.make(folder)
    sound = path.read_bytes()
    expected, usual = subject.read(path)
    for number in range(count):
        rng = np.random.default_rng([seed, number, *name.encode()])
        damaged = sound
        while damaged == sound:
            damaged = mutated(sound, rng)
        path.write_bytes(damaged)
        yield number, functools.partial(outcome, subject, path, expected, usual)
