"""The one axis order and geometry of `lnq`.

Arrays are indexed `z y x` (the order of SimpleITK's `GetArrayFromImage`); sizes and spacings follow
the arrays: `(z, y, x)`. World coordinates are millimetres in LPS, written `(x, y, z)`, as in DICOM,
NRRD files of the challenge and SimpleITK.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[Any]
Mask = NDArray[np.bool_]
"""Boolean, `z y x`."""
Interpolation = Literal["nearest", "linear"]

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an array lie in the world.

    Attributes:
        size: Number of voxels `(z, y, x)`.
        spacing_mm: Distance between voxel centres `(z, y, x)`, mm.
        origin_mm: World position `(x, y, z)` in LPS of the centre of voxel (0, 0, 0), mm.
        direction: Row-major 3x3 direction cosines in SimpleITK's convention: column *j* is the
            world direction of the image axis *j* counted x, y, z.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm³."""
        return float(np.prod(self.spacing_mm))

    @property
    def matrix(self) -> Array:
        """3x3, column *j* is one voxel step along the image axis *j* counted x, y, z; LPS mm."""
        return np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_mm[::-1])

    def to_world(self, index_zyx: Array) -> Array:
        """World coordinates (..., 3) `x y z` mm of continuous indices (..., 3) `z y x`."""
        offset = np.asarray(index_zyx, float)[..., ::-1] @ self.matrix.T
        return offset + np.asarray(self.origin_mm)

    def to_index(self, world_xyz: Array) -> Array:
        """Continuous indices (..., 3) `z y x` of world coordinates (..., 3) `x y z` mm."""
        offset = np.asarray(world_xyz, float) - np.asarray(self.origin_mm)
        return (offset @ np.linalg.inv(self.matrix).T)[..., ::-1]

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """The grid of `array[start:stop]`, both `(z, y, x)`; indices may lie outside."""
        size = tuple(int(b) - int(a) for a, b in zip(start, stop, strict=True))
        origin = tuple(float(v) for v in self.to_world(np.asarray(start)))
        return Grid(_triple(size), self.spacing_mm, _triple(origin), self.direction)

    def with_spacing(self, spacing_mm: Sequence[float]) -> Grid:
        """A grid of other spacing over the same extent, voxel edges aligned at the start."""
        old, new = np.asarray(self.spacing_mm), np.asarray(spacing_mm, float)
        # Half a voxel counts as one, whatever rounding a file's header has seen.
        size = np.maximum(1, np.floor(np.asarray(self.size) * old / new + 0.5 + 1e-3)).astype(int)
        first = (new - old) / 2 / old
        origin = self.to_world(first)
        return Grid(
            _triple(tuple(int(v) for v in size)),
            _triple(tuple(float(v) for v in new)),
            _triple(tuple(float(v) for v in origin)),
            self.direction,
        )

    def difference(self, other: Grid, tolerance_mm: float = 1e-2) -> str | None:
        """What sets two grids apart, in words; None where the corners agree to `tolerance_mm`."""
        if self.size != other.size:
            return f"size (z, y, x) {self.size} against {other.size}"
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.size])).reshape(3, -1).T
        apart = np.abs(self.to_world(corners) - other.to_world(corners)).max()
        one_step = np.abs(self.to_world(np.eye(3)) - other.to_world(np.eye(3))).max()
        if max(apart, one_step) <= tolerance_mm:
            return None
        for name in ("spacing_mm", "direction", "origin_mm"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if not np.allclose(mine, theirs, rtol=0, atol=1e-4):
                return f"{name} {_short(mine)} against {_short(theirs)}"
        return f"corners {apart:.3g} mm apart"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Grid:
        """The inverse of `to_dict`."""
        return cls(**{key: tuple(value) for key, value in values.items()})


@dataclass(frozen=True, eq=False)
class Volume:
    """An array `z y x` together with its grid."""

    array: Array
    grid: Grid

    def __post_init__(self) -> None:
        if self.array.shape != self.grid.size:
            raise ValueError(f"array of shape {self.array.shape} on a grid of {self.grid.size}")


def to_sitk(volume: Volume) -> sitk.Image:
    """A SimpleITK image with the volume's voxels and geometry (bool becomes uint8)."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(_in_type_of_sitk(volume.array)))
    image.SetSpacing(tuple(float(v) for v in volume.grid.spacing_mm[::-1]))
    image.SetOrigin(tuple(float(v) for v in volume.grid.origin_mm))
    image.SetDirection(tuple(float(v) for v in volume.grid.direction))
    return image


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a three-dimensional SimpleITK image."""
    return Grid(
        _triple(tuple(int(v) for v in image.GetSize()[::-1])),
        _triple(tuple(float(v) for v in image.GetSpacing()[::-1])),
        _triple(tuple(float(v) for v in image.GetOrigin())),
        tuple(float(v) for v in image.GetDirection()),
    )


def from_sitk(image: sitk.Image) -> Volume:
    """The volume of a three-dimensional SimpleITK image (voxels copied)."""
    return Volume(sitk.GetArrayFromImage(image), grid_of(image))


def reorient(volume: Volume, orientation: str = "LPS") -> Volume:
    """The volume with its axes permuted and flipped to the nearest anatomical `orientation`.

    No voxel is interpolated: an oblique volume stays oblique, its axes become those nearest to
    x = right to left, y = front to back, z = foot to head.
    """
    nearest = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.grid.direction)
    if nearest == orientation:  # the filter takes milliseconds of a node that is a few voxels
        return Volume(_in_type_of_sitk(volume.array).copy(), volume.grid)
    return from_sitk(sitk.DICOMOrient(to_sitk(volume), orientation))


def resample(
    volume: Volume, grid: Grid, interpolation: Interpolation, outside: float = 0.0
) -> Volume:
    """The volume's values at the voxel centres of `grid`, in world space.

    Args:
        volume: What to resample; bool and integer arrays come back in their type, rounded.
        grid: Where to evaluate.
        interpolation: `"nearest"` or `"linear"`.
        outside: Value of voxels that lie outside the volume.
    """
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize(grid.size[::-1])
    filter_.SetOutputSpacing(grid.spacing_mm[::-1])
    filter_.SetOutputOrigin(grid.origin_mm)
    filter_.SetOutputDirection(grid.direction)
    filter_.SetInterpolator(
        sitk.sitkNearestNeighbor if interpolation == "nearest" else sitk.sitkLinear
    )
    filter_.SetDefaultPixelValue(outside)
    array = sitk.GetArrayFromImage(filter_.Execute(to_sitk(volume)))
    return Volume(array.astype(volume.array.dtype, copy=False), grid)


def components(mask: Array) -> tuple[Array, int]:
    """Pieces of a mask, two voxels belonging together where they share a face, edge or corner.

    Args:
        mask: `z y x`; every value but 0 counts as inside.

    Returns:
        Integers `z y x`, 0 outside, else the piece's number from 1 on in the order of the pieces'
        first voxels; and the number of pieces.
    """
    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    return pieces, int(count)


def _in_type_of_sitk(array: Array) -> Array:
    if array.dtype == bool:
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _triple(values: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    first, second, third = values
    return first, second, third


def _short(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{v:.5g}" for v in values) + ")"
