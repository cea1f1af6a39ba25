"""NIfTI headers, read before any native reader sees the file (one of which dies of a bad `dim`)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from lnq.data.readers.header import Header, refusal
from lnq.data.readers.names import describe_content
from lnq.volume import Array, Grid, Volume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_UNITS_MM = (0, 2)  # not stated, millimetre
# Header extensions are text; what claims more is damaged, or a trap.
_LARGEST_OFFSET = 1 << 24
# Headers hold 32-bit floats: 1e-3 of a step and 0.1 mm at a corner are rounding, more is not.
_SPACING_TOLERANCE = 1e-3
_CORNER_TOLERANCE_MM = 0.1

_NiftiHeader = nib.Nifti1Header  # Nifti2Header is one, too


def parse_nifti(path: Path) -> Header:
    """The header of a `.nii` or `.nii.gz` file.

    Args:
        path: The file.

    Raises:
        CaseError: No single-file NIfTI, an impossible `dim`, type, unit or scale, or qform and
            sform that place the scan differently.
    """
    packed = path.name.lower().endswith(".gz")
    head = _beginning(path, packed)
    raw = _binary_header(path, head)
    size = _size(path, raw)
    try:
        dtype = raw.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        code = int(raw["datatype"])
        raise refusal(path, f"voxels of unknown type {code}", "write the file anew") from error
    scale = _scale(path, raw)
    matrix, origin, notes = _placement(path, raw, size)
    offset = _voxel_offset(path, raw)
    return Header(
        path=path,
        payload=path,
        offset=0 if packed else offset,
        skip=offset if packed else 0,
        compression="gzip" if packed else "none",
        size_xyz=size,
        dtype=dtype,
        matrix=matrix,
        origin_mm=origin,
        notes=notes,
        scale=scale,
        # SimpleITK's names NIfTI-2 among its formats, and does not read it.
        reader="nibabel" if isinstance(raw, nib.Nifti2Header) else "NiftiImageIO",
    )


def read_nifti2(path: Path) -> Volume:
    """The voxels `z y x` of a NIfTI-2 file that has passed the checks of its header and payload."""
    image = nib.Nifti2Image.from_filename(path)
    stored: Array = np.asanyarray(image.dataobj)
    array: Array = stored.reshape(stored.shape[:3]).T
    matrix = _RAS_TO_LPS @ image.affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    x, y, z = (float(v) for v in _RAS_TO_LPS @ image.affine[:3, 3])
    direction = tuple(float(v) for v in (matrix / spacing).ravel())
    dz, dy, dx = (float(v) for v in spacing[::-1])
    nz, ny, nx = array.shape
    grid = Grid((nz, ny, nx), (dz, dy, dx), (x, y, z), direction)
    return Volume(np.ascontiguousarray(array, array.dtype.newbyteorder("=")), grid)


def _beginning(path: Path, packed: bool) -> bytes:
    """Up to 540 bytes, the length of a NIfTI-2 header."""
    if not packed:
        with path.open("rb") as handle:
            return handle.read(540)
    try:
        with gzip.open(path) as stream:
            return stream.read(540)
    except gzip.BadGzipFile as error:
        with path.open("rb") as handle:
            content = describe_content(handle.read(540))
        raise refusal(path, f"not a gzip file, {content}", "give it its right suffix") from error
    except (EOFError, zlib.error) as error:
        raise refusal(path, f"damaged at its beginning ({error})", "copy it again") from error


def _binary_header(path: Path, head: bytes) -> _NiftiHeader:
    kinds: tuple[tuple[type[_NiftiHeader], int, bytes], ...] = (
        (nib.Nifti1Header, 348, head[344:348]),
        (nib.Nifti2Header, 540, head[4:8]),
    )
    for kind, length, magic in kinds:
        if len(head) >= length and magic in (b"n+1\0", b"n+2\0"):
            return kind(head[:length], check=False)
        if magic in (b"ni1\0", b"ni2\0"):
            raise refusal(path, "the header of a .hdr/.img pair", "convert the pair to .nii.gz")
    raise refusal(path, f"no NIfTI file: {describe_content(head)}", "give it its right suffix")


def _size(path: Path, raw: _NiftiHeader) -> tuple[int, ...]:
    dim = [int(v) for v in raw["dim"]]
    if not 1 <= dim[0] <= 7:
        raise refusal(path, f"the header counts {dim[0]} axes", "write the file anew")
    return tuple(dim[1 : dim[0] + 1])


def _voxel_offset(path: Path, raw: _NiftiHeader) -> int:
    offset = float(raw["vox_offset"])
    smallest = int(raw["sizeof_hdr"]) + 4
    # 0 stands in files of some writers; the voxels then follow header and extension flag at once.
    if offset == 0:
        return smallest
    if not (
        np.isfinite(offset) and smallest <= offset <= _LARGEST_OFFSET and offset == int(offset)
    ):
        raise refusal(path, f"the voxels are said to begin at byte {offset:g}", "write it anew")
    return int(offset)


def _scale(path: Path, raw: _NiftiHeader) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 or NaN means the stored values."""
    if int(raw["xyzt_units"]) & 7 not in _UNITS_MM:
        raise refusal(path, "its unit of length is not the millimetre", "write it in millimetres")
    slope, inter = float(raw["scl_slope"]), float(raw["scl_inter"])
    unscaled = slope == 0 or np.isnan(slope)
    if np.isinf(slope) or np.isinf(inter) or (np.isnan(inter) and not unscaled):
        raise refusal(path, f"value scaling {slope:g} x + {inter:g}", "correct the header")
    if unscaled and inter != 0 and not np.isnan(inter):
        raise refusal(
            path,
            f"a scale of slope {slope:g} and intercept {inter:g}: by the standard there is none, "
            "but programs add the intercept",
            "write slope 1 where it is meant, else intercept 0",
        )
    return (1.0, 0.0) if unscaled else (slope, inter)


def _placement(
    path: Path, raw: _NiftiHeader, size: tuple[int, ...]
) -> tuple[Array | None, tuple[float, float, float], tuple[str, ...]]:
    """Matrix and origin in LPS, from qform and sform where they agree."""
    zooms = np.asarray(raw["pixdim"][1:4], float)
    if not np.all(np.isfinite(zooms) & (zooms > 0)):
        raise refusal(path, f"voxel size (x, y, z) of {zooms} mm", "correct pixdim in the header")
    forms = _forms(path, raw)
    if not forms:
        note = (
            "no qform and no sform: the axes are taken as right-to-left, front-to-back, upwards. "
            "If they are not, write the orientation into the header"
        )
        return np.diag(zooms), (0.0, 0.0, 0.0), (note,)
    for name, affine in forms.items():
        if not np.all(np.isfinite(affine)):
            raise refusal(path, f"its {name} holds NaN or infinity", "correct the header")
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        if np.abs(steps / zooms - 1).max() > _SPACING_TOLERANCE:
            raise refusal(
                path, f"pixdim {zooms} and {name} {steps} give other voxel sizes", "correct it"
            )
    _compare_forms(path, forms, size)
    affine = next(iter(forms.values()))
    origin = _RAS_TO_LPS @ affine[:3, 3]
    return (
        _RAS_TO_LPS @ affine[:3, :3],
        (float(origin[0]), float(origin[1]), float(origin[2])),
        (),
    )


def _forms(path: Path, raw: _NiftiHeader) -> dict[str, Array]:
    """The affines the header declares valid, sform first."""
    forms: dict[str, Array] = {}
    try:
        for name, affine in (
            ("sform", raw.get_sform(coded=True)[0]),
            ("qform", raw.get_qform(coded=True)[0]),
        ):
            if affine is not None:
                forms[name] = np.asarray(affine, float)
    except (HeaderDataError, ValueError) as error:
        raise refusal(path, f"bad qform ({error})", "correct the header") from error
    return forms


def _compare_forms(path: Path, forms: dict[str, Array], size: tuple[int, ...]) -> None:
    if len(forms) < 2:
        return
    last = np.array([*(length - 1 for length in (*size, 1, 1)[:3]), 1.0])
    corners = np.array(np.meshgrid(*[(0.0, v) for v in last[:3]])).reshape(3, -1)
    difference = (forms["sform"] - forms["qform"]) @ np.vstack([corners, np.ones(8)])
    apart = float(np.abs(difference).max())
    if apart > _CORNER_TOLERANCE_MM:
        raise refusal(
            path,
            f"qform and sform place the scan up to {apart:.3g} mm apart",
            "keep the right one and set the other's code to 0",
        )
