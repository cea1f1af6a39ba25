"""What the manifest of predicted masks says of each: who writes it reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from lnq.data.case import ScanPath
from lnq.files import MANIFEST, read_json


@dataclass(frozen=True)
class PredictedCase:
    """A mask and the scan it is of.

    Attributes:
        case: Name of the scan.
        image: The scan: a file, a DICOM folder or the slices.
        mask: Name of the mask's file, in the folder of the manifest.
        image_sha256: Of the scan's bytes.
        notes: What the user should know of the scan.
    """

    case: str
    image: ScanPath
    mask: str
    image_sha256: str | None = None
    notes: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = _SCHEMA.dump_python([self], mode="json")[0]
        return plain


_SCHEMA = TypeAdapter(list[PredictedCase])


def read_predicted(folder: Path) -> tuple[dict[str, Any], list[PredictedCase]]:
    """The manifest of a folder of masks, and the masks that it lists; nothing where there is none.

    Raises:
        LnqError: It is no JSON.
        ValueError: It lists something else.
    """
    if not (folder / MANIFEST).is_file():
        return {}, []
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise ValueError(f"{MANIFEST} of the predictions holds a {type(manifest).__name__}")
    return manifest, _SCHEMA.validate_python(manifest.get("cases", []))
