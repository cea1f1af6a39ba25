"""Which layout a folder has, where the user does not say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lnq.data.datasets.checks import existing_folder, shortened
from lnq.data.datasets.dicom_index import is_collection
from lnq.data.datasets.lnq2023 import has_cases
from lnq.data.datasets.nnunet import DATASET
from lnq.data.datasets.pairs import is_table
from lnq.data.phantom.dataset import ORGANS, RECORD, older_phantom
from lnq.errors import UsageError

LOOKED_FOR = (
    "train/, val/ or test/ with ID-ct.nrrd (lnq2023), dataset.json with imagesTr/ (nnunet), "
    "a CSV or JSON table with a column image, or images/ with labels/ (pairs), DICOM CT with a "
    "DICOM-SEG of it, and no scans of other formats (tcia)"
)


@dataclass(frozen=True)
class LayoutCandidate:
    """A layout that a folder could have.

    Attributes:
        layout: Its file in `conf/data/`, without suffix.
        evidence: By what it was recognised, in a user's words.
        values: What else has to be configured, by the full key.
    """

    layout: str
    evidence: str
    values: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The arguments that choose it, and why."""
        given = "".join(f" {key}={value}" for key, value in self.values.items())
        return f"data={self.layout}{given} ({self.evidence})"


def detect(root: Path, anything: bool = False) -> LayoutCandidate:
    """The one layout that a folder has.

    Args:
        root: The dataset's folder.
        anything: Where no layout is known, take every scan that lies there.

    Raises:
        UsageError: It is missing, or has no layout that is known, or could have several; all of
            them are named.
    """
    layouts = candidates(existing_folder(root, LOOKED_FOR))
    if not layouts and anything:
        return LayoutCandidate(
            "scans", "no known layout: every scan that lies there, without labels"
        )
    if not layouts:
        below = [f"{folder.name}: {one}" for folder in _folders(root) for one in candidates(folder)]
        raise UsageError(
            "the layout of this folder is not known", where=root,
            why=f"looked for {LOOKED_FOR}"
            + (f"; but a folder below has one, {shortened(below)}" if below else ""),
            remedy="give data.root=DIR, the folder that holds these, or data=NAME",
        )  # fmt: skip
    if len(layouts) > 1:
        raise UsageError(
            "this folder could have several layouts", where=root,
            why=shortened([str(one) for one in layouts]),
            remedy="choose one by giving its arguments",
        )  # fmt: skip
    return layouts[0]


def candidates(root: Path) -> list[LayoutCandidate]:
    """All layouts that a folder could have; each of `_SIGNS` looks for one."""
    return [layout for sign in _SIGNS for layout in sign(root)]


def _lnq2023(root: Path) -> Iterator[LayoutCandidate]:
    if (root / RECORD).is_file():
        if any(root.glob("*/lnq2023-*")):
            raise older_phantom(root)
        # Listed as it lies: its settings, which data=phantom would compare, are not known here.
        values = {"data.name": "phantom"}
        if (root / ORGANS).is_dir():
            values["data.layout.background"] = str(root / ORGANS)
        yield LayoutCandidate("lnq2023", f"{RECORD} with the challenge's folders", values)
    elif has_cases(root):
        yield LayoutCandidate("lnq2023", "train/, val/ or test/ with ID-ct.nrrd")


def _nnunet(root: Path) -> Iterator[LayoutCandidate]:
    folders = [name for name in ("imagesTr", "imagesTs") if (root / name).is_dir()]
    if (root / DATASET).is_file() and folders:
        yield LayoutCandidate("nnunet", f"{DATASET} with {folders[0]}/")


def _pairs(root: Path) -> Iterator[LayoutCandidate]:
    tables = [path for path in sorted(root.iterdir()) if is_table(path)]
    for path in tables:
        yield LayoutCandidate("pairs", "a table", {"data.layout.table": path.name})
    if not tables and (root / "images").is_dir():
        names = [name for name in ("images", "labels") if (root / name).is_dir()]
        values = {f"data.layout.{name}": name for name in names}
        yield LayoutCandidate("pairs", " with ".join(f"{name}/" for name in names), values)


def _tcia(root: Path) -> Iterator[LayoutCandidate]:
    if is_collection(root):
        yield LayoutCandidate("tcia", "DICOM with a DICOM-SEG")


_SIGNS = (_lnq2023, _nnunet, _pairs, _tcia)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())
