"""Which prediction belongs to which reference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lnq.data.readers import SUFFIXES, label_name
from lnq.errors import UsageError

_IMAGE_ROLE = re.compile(r"[-_](ct|image|img|0000)$", re.IGNORECASE)
_LABEL_ROLE = re.compile(
    r"[-_](seg|segmentation|label|labels|mask|pred|prediction)$", re.IGNORECASE
)
_EXAMPLES = 3


@dataclass(frozen=True)
class Match:
    """The files of one case.

    Attributes:
        case: Id of the case, from the reference's name.
        reference: What is taken as true.
        prediction: The mask under test; None where there is none.
        annotation: The partial label used in training; None where there is none.
    """

    case: str
    reference: Path
    prediction: Path | None
    annotation: Path | None


def case_key(path: Path) -> str:
    """The case a file belongs to: its name without format and without role.

    The format is a suffix that `lnq.data.readers` knows, in any letter case. The role is one last
    part after `-` or `_` that says what the file is to the case: `ct`, `image`, `img` or nnU-Net's
    `0000` for a scan; `seg`, `segmentation`, `label`, `labels`, `mask`, `pred` or `prediction` for
    a mask. So
    `lnq2023-val-0001-ct.nrrd` and `lnq2023-val-0001-seg.nrrd` belong to `lnq2023-val-0001`, and
    `chest_0000.nii.gz` belongs to `chest`.
    """
    name = label_name(path)
    for role in (_IMAGE_ROLE, _LABEL_ROLE):
        shorter = role.sub("", name)
        if shorter and shorter != name:
            return shorter
    return name


def match_cases(
    predictions: Path, references: Path, annotations: Path | None = None
) -> tuple[list[Match], list[Path]]:
    """Pairs the files of two or three folders by `case_key`.

    Args:
        predictions: Folder of masks under test; DICOM-SEG among them end with `.dcm`.
        references: Folder of reference labels, which are images: they have the scan's voxels.
        annotations: Folder of partial labels used in training; the same.

    Returns:
        One match per reference, ordered by case, and the predictions that have no reference.

    Raises:
        UsageError: A folder is missing or holds no mask, two files belong to one case, or no
            prediction has a reference.
    """
    masks = masks_by_case(predictions, "predictions", (*SUFFIXES, ".dcm"))
    wanted = masks_by_case(references, "references")
    partial = {} if annotations is None else masks_by_case(annotations, "annotations")
    wanted = _by_name_where_known(wanted, masks)
    partial = _by_name_where_known(partial, wanted)
    _require_common(masks, wanted, f"predictions={predictions}", f"references={references}")
    if annotations is not None:
        _require_common(partial, wanted, f"annotations={annotations}", f"references={references}")
    matches = [
        Match(case, path, masks.get(case), partial.get(case))
        for case, path in sorted(wanted.items())
    ]
    return matches, [path for case, path in sorted(masks.items()) if case not in wanted]


def masks_by_case(folder: Path, role: str, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, Path]:
    """The masks of one folder by case.

    Where scans and labels lie side by side, the label is taken: of two files of a case, the one
    whose name says that it is one.

    Args:
        folder: Where to look; folders inside it are left alone.
        role: Key of the command line that named the folder, for messages.
        suffixes: What files end with, in any letter case.

    Raises:
        UsageError: The folder is missing or holds no mask, or two files belong to one case.
    """
    if not folder.is_dir():
        raise UsageError("no such folder", where=f"{role}={folder}")
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        is_mask = path.is_file() and path.name.lower().endswith(suffixes)
        if is_mask and not path.name.startswith("."):
            groups.setdefault(case_key(path), []).append(path)
    if not groups:
        raise UsageError(
            "no masks", where=f"{role}={folder}", why=f"no file ends with {', '.join(suffixes)}",
            remedy="write DICOM annotations as images: lnq.export does so for a dataset",
        )  # fmt: skip
    return {case: _the_mask(case, paths, role) for case, paths in groups.items()}


def _the_mask(case: str, paths: list[Path], role: str) -> Path:
    labels = [p for p in paths if _LABEL_ROLE.search(label_name(p))]
    candidates = labels or paths
    if len(candidates) > 1:
        raise UsageError(
            f"{len(candidates)} files belong to the case {case}",
            where=f"{role}={candidates[0].parent}",
            why=", ".join(p.name for p in candidates),
            remedy="keep one of them in the folder",
        )
    return candidates[0]


def _by_name_where_known(files: Mapping[str, Path], cases: Iterable[str]) -> dict[str, Path]:
    """Undoes the removal of a role where the whole name is a case of the other folder.

    The label `node_0000` of nnU-Net is the case `node_0000`, whose scan is `node_0000_0000`.
    """
    known = set(cases)
    names = {case: label_name(path) for case, path in files.items()}
    return {(names[c] if names[c] in known else c): path for c, path in files.items()}


def _require_common(
    first: Mapping[str, Path], second: Mapping[str, Path], first_name: str, second_name: str
) -> None:
    if not first.keys() & second.keys():
        raise UsageError(
            f"no case of {first_name} is in {second_name}",
            why=f"cases are {_examples(first)} against {_examples(second)}",
            remedy="the file names must agree but for the format and a role such as -ct or -seg",
        )


def _examples(cases: Iterable[str]) -> str:
    names = sorted(cases)
    return ", ".join(names[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")
