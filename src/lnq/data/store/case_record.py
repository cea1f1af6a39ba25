"""What is known of a preprocessed case, beside its arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lnq.data.case import Split, Supervision
from lnq.volume import Grid


@dataclass(frozen=True)
class CaseRecord:
    """What is known of a preprocessed case.

    Attributes:
        case_id: As in `lnq.data.case.Case`; so are split, supervision and group.
        split: Part of the dataset.
        supervision: `full`, `partial` or `none`.
        group: The patient.
        image: The scan it was made from.
        label: The annotation it was made from, or None.
        image_sha256: Of the scan's bytes.
        label_sha256: Of the annotation's bytes, or None.
        voxel_sha256: Of the scan's voxels, equal in copies of one scan.
        source_grid: Grid of the scan.
        grid: Working grid of the arrays.
        mean: HU subtracted in normalisation.
        sd: HU divided by in normalisation.
        num_foreground: Annotated voxels on the working grid.
        lungs_found: False where the crop is the body or the whole scan.
        notes: What was odd about the case.
        mask_sha256: Of the annotation's voxels on the scan's grid; None where it marks none.
        background_sha256: Of the masks of background, or None.
        chest_grid: Grid of the distances from lungs and body; None = they are not stored.
    """

    case_id: str
    split: Split
    supervision: Supervision
    group: str
    image: Path
    label: Path | None
    image_sha256: str
    label_sha256: str | None
    voxel_sha256: str
    source_grid: Grid
    grid: Grid
    mean: float
    sd: float
    num_foreground: int
    lungs_found: bool
    notes: tuple[str, ...] = ()
    mask_sha256: str | None = None
    background_sha256: str | None = None
    chest_grid: Grid | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        label = None if self.label is None else str(self.label)
        return {**asdict(self), "image": str(self.image), "label": label, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CaseRecord:
        """The inverse of `to_dict`."""
        values = {"mask_sha256": None, **values}  # stores of before lack it
        known = {field.name: values[field.name] for field in fields(cls)}
        known["image"] = Path(known["image"])
        known["label"] = None if known["label"] is None else Path(known["label"])
        known["source_grid"] = Grid.from_dict(known["source_grid"])
        known["grid"] = Grid.from_dict(known["grid"])
        chest = known["chest_grid"]
        known["chest_grid"] = None if chest is None else Grid.from_dict(chest)
        known["notes"] = tuple(known["notes"])
        return cls(**known)
