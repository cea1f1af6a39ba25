"""What a scan's header promises, in one form for all formats, and the checks it must pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lnq.data.case import ScanPath
from lnq.errors import CaseError
from lnq.volume import Array, Grid

SPACING_RANGE_MM = (0.01, 50.0)
LARGEST_ORIGIN_MM = 1e5
# 1e-3 off orthonormal axes shifts the far end of a 500 mm scan by half a millimetre.
ORTHONORMAL_TOLERANCE = 1e-3
# deflate cannot shrink data further than 1032 : 1.
LARGEST_DEFLATE_RATIO = 1040
# Noise keeps scans below 20 : 1; masks of that size fit into this when they are 8 bits deep.
LARGEST_UNPACKED = 700 << 20
LARGEST_RATIO_OF_LARGE = 200
LONGEST_AXIS = 32767
_MILLIMETRE = re.compile(r"(mm|millimet(er|re)s?|\?|unknown|)", re.I)

Compression = Literal["none", "gzip", "zlib"]


@dataclass(frozen=True)
class Header:
    """The promises of one file's header.

    Attributes:
        path: The file that was named.
        payload: The file that holds the voxels (`path` itself unless the header is detached).
        offset: Bytes of `payload` before the (compressed) stream; None = the voxels are its last
            bytes.
        skip: Bytes of the decompressed stream before the voxels.
        compression: How the stream is packed.
        size_xyz: Length of every axis as stored, fastest first; more than three where the file says
            so.
        dtype: Type of one stored voxel, with its byte order.
        matrix: Column *j* is one voxel step along axis *j* (x, y, z), LPS mm; None = the file does
            not say.
        origin_mm: LPS position `(x, y, z)` of the first voxel.
        notes: What is odd but not wrong.
        num_layers: Values that every voxel holds, side by side.
        scale: Slope and intercept from stored values to those that are meant.
        reader: Who reads the voxels: SimpleITK's class, by name, or nibabel.
    """

    path: Path
    payload: Path
    offset: int | None
    skip: int
    compression: Compression
    size_xyz: tuple[int, ...]
    dtype: np.dtype[np.generic]
    matrix: Array | None
    origin_mm: tuple[float, float, float]
    notes: tuple[str, ...] = ()
    num_layers: int = 1
    scale: tuple[float, float] = (1.0, 0.0)
    reader: str = ""

    @property
    def num_bytes(self) -> int:
        """Bytes that the voxels take when unpacked."""
        count = self.num_layers
        for length in self.size_xyz:  # Python integers: no overflow, whatever the header says
            count *= length
        return count * self.dtype.itemsize

    def grid(self) -> Grid | None:
        """The grid the header describes, or None where it has no orientation."""
        if self.matrix is None:
            return None
        spacing = np.linalg.norm(self.matrix, axis=0)
        x, y, z = self.size_xyz[:3]
        return Grid(
            (z, y, x),
            (float(spacing[2]), float(spacing[1]), float(spacing[0])),
            self.origin_mm,
            tuple(float(v) for v in (self.matrix / spacing).ravel()),
        )


def refusal(path: ScanPath, why: str, remedy: str | None = None) -> CaseError:
    """The error of a file that cannot be read."""
    return CaseError("cannot read", where=path, why=why, remedy=remedy)


def check_unit(path: Path, unit: str) -> None:
    """Refuses a stated unit of length that is not the millimetre, which native readers pass over.

    Args:
        path: The file, for the message.
        unit: As the header says it; empty where it does not.

    Raises:
        CaseError: As said.
    """
    if not _MILLIMETRE.fullmatch(unit.strip()):
        raise refusal(
            path, f"its unit of length is {unit}, which programs take for mm", "write it in mm"
        )


def check_name(path: Path) -> None:
    """Refuses a name with which a native reader ends the whole process.

    Args:
        path: Any path.

    Raises:
        CaseError: It is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise refusal(path, "its name is not UTF-8", "rename it") from error


def check_header(header: Header, thinnest: int = 2) -> None:
    """Refuses what no reader should be asked to open.

    Args:
        header: What a file promises.
        thinnest: Fewest voxels along an axis; a segmentation may be cropped to a single slice.

    Raises:
        CaseError: Not three-dimensional, one slice, more voxels than the file can hold, voxel sizes
            of zero, NaN or beyond reason, sheared axes.
    """
    _check_size(header, thinnest)
    if header.matrix is not None:
        check_geometry(header.path, header.matrix, header.origin_mm)


def check_geometry(path: Path, matrix: Array, origin_mm: tuple[float, float, float]) -> None:
    """Refuses an affine whose columns are not three orthogonal steps of plausible length.

    Args:
        path: The file, for the message.
        matrix: 3x3, column *j* is one voxel step along axis *j*, mm.
        origin_mm: Position of the first voxel, mm.

    Raises:
        CaseError: As said.
    """
    spacing = np.linalg.norm(matrix, axis=0)
    low, high = SPACING_RANGE_MM
    if not (np.all(np.isfinite(spacing)) and np.all((spacing >= low) & (spacing <= high))):
        values = ", ".join(f"{v:g}" for v in spacing)
        raise refusal(
            path,
            f"voxel size (x, y, z) of {values} mm lies outside {low:g} to {high:g} mm",
            "correct the header",
        )
    if not np.all(np.abs(origin_mm) <= LARGEST_ORIGIN_MM):
        raise refusal(path, f"the origin {origin_mm} mm is no place in a scanner", "correct it")
    cosines = matrix / spacing
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise refusal(
            path,
            "its axes are sheared (not at right angles), as after an uncorrected gantry tilt",
            "resample it to a straight grid",
        )


def _check_size(header: Header, thinnest: int) -> None:
    path, size = header.path, header.size_xyz
    shown = " x ".join(map(str, size))
    if any(not 1 <= length <= LONGEST_AXIS for length in size):
        raise refusal(path, f"the header gives the size {shown[:80]}", "write the file anew")
    if any(length > 1 for length in size[3:]) or len(size) < 3:
        raise refusal(
            path,
            f"a volume has three axes, this file has {len(size)} ({shown})",
            "export the one volume or layer that is meant",
        )
    if min(size[:3]) < thinnest:
        raise refusal(path, f"a single slice is no volume ({shown} voxels)", "give the whole scan")
    if header.dtype.kind not in "iuf":
        raise refusal(
            path, f"voxels of type {header.dtype} are no single numbers", "export one channel"
        )
    if header.compression != "none":
        check_ratio(path, header.num_bytes, header.payload.stat().st_size)


def check_ratio(path: Path, promised: int, packed: int) -> None:
    """Refuses a few packed bytes that would fill the memory.

    Args:
        path: The file, for the message.
        promised: Bytes that the voxels take when unpacked.
        packed: Bytes that hold them.

    Raises:
        CaseError: As said.
    """
    if promised > packed * LARGEST_DEFLATE_RATIO:
        raise refusal(
            path,
            f"the header promises {promised} bytes of voxels, more than {packed} packed bytes can "
            "hold",
            "write or copy the file anew",
        )
    if promised > LARGEST_UNPACKED and promised > packed * LARGEST_RATIO_OF_LARGE:
        raise refusal(
            path,
            f"its {packed} packed bytes would fill {promised} with hardly any content",
            "crop it, or save a mask with 8 bits a voxel",
        )
