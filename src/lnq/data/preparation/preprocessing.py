"""From a scan to what the network sees: reorient, crop to the lungs, resample, normalise.

The settings travel in every checkpoint, so that prediction repeats the training's preprocessing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from lnq.data.chest.lung_box import lung_box
from lnq.data.chest.lungs import Chest, find_chest
from lnq.data.preparation.label_field import SURFACE, label_field, vanished
from lnq.data.preparation.resampling import smoothed, working_grid
from lnq.errors import CaseError, UsageError
from lnq.volume import Grid, Volume, reorient, resample

# Bounded: settings may be a stranger's, and a kernel or a grid is as large as they say.
_Side = Annotated[float, Field(ge=0.05, le=50)]
_Room = Annotated[float, Field(ge=0, le=1000)]
Spacing = tuple[_Side, _Side, _Side]
Margin = tuple[_Room, _Room, _Room]
MOST_VOXELS = 1 << 29
"""Of a prepared scan: 2 GiB of float32; 600 mm at 0.8 mm are a fifth."""

# Counts the ways in which one scan with one set of settings was prepared and stored: to be raised
# with every change of what comes out. It is part of the store's key: older stores are made anew.
ALGORITHM = 8
# What a 12-bit scanner measures. Below is padding (-3024, -2048), above is metal: a few such voxels
# would otherwise decide mean and standard deviation.
HU_RANGE = (-1024.0, 3071.0)
# Statistics of the original's foreground voxels: docs/explanation/method.md#data-and-preprocessing.
CT_RANGE, CT_MEAN, CT_SD = (-36.0, 157.0), 54.3698, 32.6955

_WHOLE = 200  # a mask's inside while it is interpolated, in whole numbers: an eighth of the memory


@dataclass(frozen=True)
class Prepared:
    """A scan as the network sees it.

    Attributes:
        volume: float32, normalised, on the working grid.
        crop: The cropped part of the scan before resampling, in LPS axis order.
        lungs_found: False where the crop is the body or the whole scan.
        mean: Subtracted, HU.
        sd: Divided by, HU.
        notes: What a reader of the result must know.
    """

    volume: Volume
    crop: Grid
    lungs_found: bool
    mean: float
    sd: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a scan and its label.

    Attributes:
        spacing_mm: Voxel size the network works at, (z, y, x) mm.
        normalisation: `zscore`: zero mean and unit variance over each crop, after clipping to the
            scanner's range (paper); `ct`: clip to [-36, 157] HU, then the fixed mean and standard
            deviation of the original.
        margin_mm: Room around the lungs (z, y, x) mm.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    spacing_mm: Spacing = (3.0, 0.8, 0.8)
    normalisation: Literal["zscore", "ct"] = "zscore"
    margin_mm: Margin = (10.0, 10.0, 10.0)

    def apply(self, image: Volume, chest: Chest | None = None) -> Prepared:
        """Prepares a scan.

        Args:
            image: HU, any orientation and spacing, finite values.
            chest: Body and lungs where they have been looked for already.

        Raises:
            CaseError: Values are not finite, or the crop holds one value only.
        """
        if image.array.dtype.kind == "f" and not np.isfinite(image.array).all():
            raise CaseError(
                "the scan holds NaN or infinite values",
                remedy="convert it again from its source",
            )
        upright = reorient(image)
        lungs = lung_box(upright.grid, chest or find_chest(image), self.margin_mm)
        crop = upright.grid.crop(lungs.box.start, lungs.box.stop)
        # Clipped before resampling, so that padding does not bleed into the body.
        low, high = HU_RANGE if self.normalisation == "zscore" else CT_RANGE
        hu = np.clip(upright.array[lungs.box.slices].astype(np.float32), low, high)
        grid = working_grid(crop, self.spacing_mm)
        if (voxels := math.prod(grid.size)) > MOST_VOXELS:
            raise CaseError(
                f"the scan would have {voxels:.2g} voxels", why=f"spacing_mm={self.spacing_mm}",
                remedy="choose a larger spacing_mm, or another checkpoint",
            )  # fmt: skip
        array = resample(smoothed(Volume(hu, crop), grid), grid, "linear").array
        mean, sd = CT_MEAN, CT_SD
        if self.normalisation == "zscore":
            mean, sd = float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))
        if array.min() == array.max():
            raise CaseError(
                f"every voxel of the scan's crop has one value ({float(array.flat[0]):g} HU)",
                why="it is no CT of a chest, or its values are no Hounsfield units",
                remedy="check the rescale slope and intercept of its source",
            )
        normalised = ((array - mean) / sd).astype(np.float32)
        return Prepared(
            Volume(normalised, grid), crop, lungs.lungs_found, float(mean), float(sd), lungs.notes
        )

    def label_field(self, label: Volume, grid: Grid) -> Volume:
        """Brings a label onto the working grid of its scan, as a field.

        Unlike the scan a label is not smoothed, which would shrink nodes. A 26-connected piece of
        which no voxel would be annotated keeps one, the one nearest to its middle: none vanishes.

        Args:
            label: 0 or 1 on the scan's own grid.
            grid: The working grid, `Prepared.volume.grid`.

        Returns:
            float32; annotated where it reaches `SURFACE`. Interpolated linearly at the scan's own
            voxels and cut there, it gives the label again.
        """
        upright = reorient(Volume((label.array > 0).astype(np.uint8), label.grid))
        field = label_field(upright, grid)
        for index in vanished(upright, Volume(field.array >= SURFACE, grid)):
            field.array[index] = 1.0
        return field

    def apply_label(self, label: Volume, grid: Grid) -> Volume:
        """Brings a label onto the working grid of its scan, as the mask that training learns from.

        Args:
            label: 0 or 1 on the scan's own grid.
            grid: The working grid, `Prepared.volume.grid`.

        Returns:
            uint8, 0 or 1: where `label_field` reaches `SURFACE`.
        """
        field = self.label_field(label, grid)
        return Volume((field.array >= SURFACE).astype(np.uint8), grid)

    def apply_mask(self, mask: Volume, grid: Grid) -> Volume:
        """Brings a mask of anything large onto the working grid of its scan.

        Args:
            mask: bool on the scan's own grid.
            grid: The working grid, `Prepared.volume.grid`.

        Returns:
            bool: where the mask, interpolated linearly, reaches a half.
        """
        whole = reorient(Volume(mask.array.astype(np.uint8) * _WHOLE, mask.grid))
        return Volume(resample(whole, grid, "linear").array >= _WHOLE // 2, grid)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for checkpoints and manifests, and the version of the algorithm."""
        values = {"algorithm": ALGORITHM, **asdict(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: Path | None = None) -> Preprocessing:
        """The inverse of `as_dict`; whatever version wrote it, there is only today's algorithm.

        Args:
            values: Plain types; what is missing has its default.
            source: Where they come from, named in errors.

        Raises:
            UsageError: They are no settings of a preprocessing.
        """
        known = {k: v for k, v in values.items() if k != "algorithm"}
        try:
            return TypeAdapter(cls).validate_python(known)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
            raise UsageError(
                "no settings of lnq's preprocessing", where=source, why="; ".join(faults),
                remedy="use another checkpoint",
            ) from error  # fmt: skip
