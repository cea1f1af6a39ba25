"""A dataset of any layout as nnU-Net wants it, so that both train on the same cases.

Dataset501_LNQ/dataset.json         nnU-Net's description; written last
Dataset501_LNQ/imagesTr, labelsTr   labelled cases of train and val
Dataset501_LNQ/imagesTs, labelsTs   cases of test, and whatever has no label
Dataset501_LNQ/instancesTr, Ts      if wanted, those labels with a number for each node
Dataset501_LNQ/splits_final.json    folds drawn by patient if wanted, else train and val as one
Dataset501_LNQ/exported/ID.json     a finished case: its sources, its files and their hashes
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lnq.data.case import Case
from lnq.data.datasets.folds import best_supervision, drawn_folds
from lnq.data.datasets.nnunet import DATASET, SPLITS, Told
from lnq.data.datasets.source_hash import label_hash
from lnq.data.readers import (
    LabelKind,
    Scan,
    content_hash,
    read_image_with_notes,
    read_label_with_notes,
)
from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError, LnqError, UsageError
from lnq.files import MANIFEST, read_json, sha256, write_json
from lnq.volume import Volume, components

Ending = Literal[".nii.gz", ".nrrd", ".mha"]
Writer = Callable[[Volume, Path], None]
RECORDS = "exported"


@dataclass(frozen=True)
class Exported:
    """What became of a case.

    Attributes:
        case: The case.
        kept: Whether it was there already, as it is now.
        notes: What a user should know of it.
        error: Why it failed.
    """

    case: Case
    kept: bool = False
    notes: tuple[str, ...] = ()
    error: CaseError | None = None


def check_target(folder: Path, root: object) -> None:
    """Refuses to write over a dataset that is not an export of the same data.

    Args:
        folder: `nnUNet_raw/Dataset501_LNQ`.
        root: Where the data lie that shall be exported.

    Raises:
        UsageError: The folder holds something else.
    """
    if not folder.exists() or not any(p.name != ".lock" for p in folder.iterdir()):
        return
    try:
        manifest = read_json(folder / MANIFEST)
        known = manifest["stage"] == "export" and str(manifest["root"]) == str(root)
    except (LnqError, KeyError, TypeError):
        known = False
    if not known:
        raise UsageError(
            "the folder holds another dataset", where=folder,
            remedy="choose another one with dataset_id=N or output=DIR",
        )  # fmt: skip


def export_cases(
    cases: Sequence[Case], folder: Path, ending: Ending, write: Writer, instances: bool = False
) -> Iterator[Exported]:
    """Writes what the folder does not hold yet; a bad case does not stop the others.

    Until `finish`, there is no `dataset.json`: an unfinished export is no dataset.

    Args:
        cases: The dataset.
        folder: Where to.
        ending: Format of all files.
        write: Writes a volume whole or not at all.
        instances: Write each label a second time, with a number for each node.

    Yields:
        One outcome a case.
    """
    (folder / DATASET).unlink(missing_ok=True)
    (folder / SPLITS).unlink(missing_ok=True)
    wanted = {case.case_id for case in cases}
    for record in sorted((folder / RECORDS).glob("*.json")):
        if record.stem not in wanted:
            _remove(folder, record.stem)
    for case in cases:
        try:
            yield _export(case, folder, ending, write, instances)
        except CaseError as error:
            _remove(folder, case.case_id)
            yield Exported(case, error=error.at(case.image))


def finish(
    cases: Sequence[Case], folder: Path, ending: Ending, folds: int | None = None, seed: int = 0
) -> None:
    """Describes the exported cases to nnU-Net, and to layout `nnunet` what that has no place for.

    Args:
        cases: Those that are in the folder.
        folder: As for `export_cases`.
        ending: As for `export_cases`.
        folds: How many of a cross-validation by patient; None = the splits as they are.
        seed: Of the folds.

    Raises:
        UsageError: There are fewer patients than folds.
    """
    labelled = [case for case in cases if _in_training(case)]
    parts = (
        [_parts(labelled, {c.group for c in labelled if c.split == "val"})]
        if folds is None else [_parts(labelled, held) for held in _folds(labelled, folds, seed)]
    )  # fmt: skip
    if all(part["val"] for part in parts):
        write_json(folder / SPLITS, parts)
    described = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "lymph_node": 1},
        "numTraining": len(labelled),
        "file_ending": ending,
        "lnq_cases": {c.case_id: asdict(Told(c.split, c.supervision, c.group)) for c in cases},
    }
    write_json(folder / DATASET, described)


def _parts(cases: Sequence[Case], validated: Collection[str]) -> dict[str, list[str]]:
    """A fold as nnU-Net lists it, from the patients that it validates on."""
    parts: dict[str, list[str]] = {"train": [], "val": []}
    for case in cases:
        parts["val" if case.group in validated else "train"].append(case.case_id)
    return parts


def _folds(cases: Sequence[Case], count: int, seed: int) -> list[frozenset[str]]:
    kinds = best_supervision([(case.group, case.supervision) for case in cases])
    if len(kinds) < count:
        raise UsageError(
            "there are fewer patients than folds", where=f"folds={count}",
            why=f"{len(kinds)} have labels for training", remedy="lower it",
        )  # fmt: skip
    return drawn_folds(kinds, count, seed)


def _in_training(case: Case) -> bool:
    """Whether nnU-Net may train on it, or validate: it takes no case without a label."""
    return case.label is not None and case.split != "test"


def _places(case: Case, ending: Ending, instances: bool) -> list[str]:
    part = "Tr" if _in_training(case) else "Ts"
    image = f"images{part}/{case.case_id}_0000{ending}"
    if case.label is None:
        return [image]
    kinds = ("labels", "instances") if instances else ("labels",)
    return [image, *(f"{kind}{part}/{case.case_id}{ending}" for kind in kinds)]


def _export(case: Case, folder: Path, ending: Ending, write: Writer, instances: bool) -> Exported:
    """Writes scan and label, both on the scan's grid, unless they are there as they are now."""
    if case.refusal is not None:
        raise case.refusal
    record = folder / RECORDS / f"{case.case_id}.json"
    places = _places(case, ending, instances)
    sources = {"image": content_hash(case.image), "label": label_hash(case)}
    entry = _entry(record)
    if entry is not None and entry["sources"] == sources and list(entry["files"]) == places:
        paths = {folder / name: digest for name, digest in entry["files"].items()}
        if all(path.is_file() and sha256(path) == digest for path, digest in paths.items()):
            return Exported(case, kept=True)
    _remove(folder, case.case_id)
    image, notes = read_image_with_notes(case.image)
    volumes = [image]
    if case.label is not None:
        scan = Scan(case.image, image.grid)
        kind: LabelKind = "instances" if instances else "binary"
        given, mended = read_label_with_notes(case.label, kind, scan, case.label_names)
        label, moved = align_label(given, image.grid)
        volumes.append(Volume((label.array > 0).astype(np.uint8), label.grid))
        if instances:
            volumes.append(_numbered(label))
        notes = [*notes, *mended, *moved]
    for volume, name in zip(volumes, places, strict=True):
        write(volume, folder / name)
    files = {name: sha256(folder / name) for name in places}
    write_json(record, {"sources": sources, "files": files})
    return Exported(case, notes=(*case.notes, *notes))


def _numbered(label: Volume) -> Volume:
    """A number for each node: what the annotation tells apart, else what is not connected."""
    if len(np.unique(label.array)) > 2:
        return label
    pieces, _ = components(label.array)
    return Volume(pieces.astype(np.uint16), label.grid)


def _remove(folder: Path, case_id: str) -> None:
    """Takes a case away, in whatever form an earlier run left it."""
    (folder / RECORDS / f"{case_id}.json").unlink(missing_ok=True)
    for part, ending in itertools.product(("Tr", "Ts"), get_args(Ending)):
        (folder / f"images{part}" / f"{case_id}_0000{ending}").unlink(missing_ok=True)
        for kind in ("labels", "instances"):
            (folder / f"{kind}{part}" / f"{case_id}{ending}").unlink(missing_ok=True)


def _entry(record: Path) -> dict[str, Any] | None:
    try:
        entry = read_json(record)
    except LnqError:
        return None
    whole = isinstance(entry, dict) and {"sources", "files"} <= entry.keys()
    return entry if whole else None
